"""What is installed, and whether it is what a requirement asks for."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["Installed", "host_search_path", "parsed"]


def host_search_path() -> list[str]:
    """Return the folders from which this machine's Python imports packages."""
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def parsed(line: str) -> Requirement | None:
    """Read a line of a requirements file; None for an option, a path or nothing."""
    text = line.partition(" #")[0].strip()
    if not text or text.startswith(("#", "-")):
        return None
    try:
        return _requirement(text)
    except ValueError:
        return None


def _requirement(text: str) -> Requirement:
    # Loading `packaging` takes some 20 ms, which a plane that builds no image need not wait for.
    from packaging.requirements import Requirement  # noqa: PLC0415

    return Requirement(text)


class Installed:
    """The packages in some folders; in an earlier folder they hide those in a later one.

    Args:
        search: Folders of installed packages.
    """

    def __init__(self, search: Sequence[str]) -> None:
        self._search = list(search)

    def all(self) -> Iterator[importlib.metadata.Distribution]:
        """Yield every distribution, each name once."""
        seen: set[str] = set()
        for found in importlib.metadata.distributions(path=self._search):
            name = (found.metadata["Name"] or "").lower().replace("_", "-")
            if name and name not in seen:
                seen.add(name)
                yield found

    def version(self, name: str) -> str | None:
        """Return a package's version, if it is there."""
        found = self._find(name)
        return found.version if found else None

    def satisfies(self, line: str) -> bool:
        """Return whether a line of a requirements file asks for nothing that is not there."""
        text = line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            return True
        requirement = parsed(text)
        return requirement is not None and self._has(requirement, set())

    def _has(self, requirement: Requirement, asked: set[str]) -> bool:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            return True
        found = self._find(requirement.name)
        if found is None or requirement.url is not None:
            return False
        if not requirement.specifier.contains(found.version, prereleases=True):
            return False
        return all(self._has_extra(found, extra, asked) for extra in requirement.extras)

    def _has_extra(
        self, found: importlib.metadata.Distribution, extra: str, asked: set[str]
    ) -> bool:
        key = f"{found.metadata['Name']}[{extra}]"
        if key in asked:  # extras may name each other
            return True
        asked.add(key)
        for text in found.requires or []:
            needed = _requirement(text)
            if needed.marker is None or not needed.marker.evaluate({"extra": extra}):
                continue
            if needed.marker.evaluate({"extra": ""}):
                continue
            needed.marker = None
            if not self._has(needed, asked):
                return False
        return True

    def _find(self, name: str) -> importlib.metadata.Distribution | None:
        return next(iter(importlib.metadata.distributions(name=name, path=self._search)), None)
