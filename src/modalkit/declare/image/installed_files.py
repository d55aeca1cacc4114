"""What files of this machine install in an image: requirements.txt, pyproject.toml and uv.lock."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement

from ...errors import DeclarationError
from ..pins import requirement_lines

__all__ = ["FileRequirement", "in_pyproject", "in_requirements", "in_uv_lock"]

# Containers, whatever this machine is. A Python that is not known here must not decide: what counts
# for some of these only is left out.
_LINUX = {
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "sys_platform": "linux",
}
_PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_DEFAULT_GROUPS = ("dev",)  # uv's own, where the project names none


class FileRequirement(NamedTuple):
    """One requirement that a file installs in a container.

    Attributes:
        place: File and line, for messages.
        text: The requirement without what it is conditional on.
    """

    place: str
    text: str


def in_requirements(path: str) -> Iterator[FileRequirement]:
    """Read a ``requirements.txt``.

    Raises:
        DeclarationError: It cannot be read, or a line is not a requirement.
    """
    for line in requirement_lines(Path(path).expanduser()):
        yield from _installed(f"{path}, line {line.number}:", line.text)


def in_pyproject(path: str, extras: Sequence[str] = ()) -> Iterator[FileRequirement]:
    """Read the dependencies of a ``pyproject.toml``, with some of its extras.

    Raises:
        DeclarationError: It cannot be read.
    """
    text = _text(path)
    project = _toml(path, text).get("project", {})
    optional = project.get("optional-dependencies", {})
    written = [*project.get("dependencies", ())]
    written += [one for extra in extras for one in optional.get(extra, ())]
    for requirement in written:
        yield from _installed(_place(path, text, requirement), requirement)


def in_uv_lock(
    folder: str, groups: Sequence[str] = (), extras: Sequence[str] = ()
) -> Iterator[FileRequirement]:
    """Read what of a ``uv.lock`` is installed: what the project needs, with some groups and extras.

    Raises:
        DeclarationError: It or its ``pyproject.toml`` cannot be read.
    """
    path, project = (str(Path(folder) / name) for name in ("uv.lock", "pyproject.toml"))
    text = _text(path)
    lock = _Lock(_toml(path, text).get("package", ()))
    groups = (*groups, *_default_groups(_toml(project, _text(project))))
    lines = _package_lines(text)
    for name, version in lock.reached(groups, extras):
        place = f"{path}, line {lines.get((name, version), 1)}:"
        yield FileRequirement(place, f"{name}=={version}")


class _Lock:
    """The packages of a ``uv.lock``, and what needs what."""

    def __init__(self, packages: Iterable[Mapping[str, Any]]) -> None:
        self._packages = list(packages)

    def reached(self, groups: Sequence[str], extras: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield name and version of each package that is installed, once."""
        waiting = [
            need
            for package in self._packages
            if {"virtual", "editable"} & package.get("source", {}).keys()
            for need in _needs(package, extras, groups)
        ]
        seen: set[tuple[str, str, tuple[str, ...]]] = set()
        told: set[tuple[str, str]] = set()
        while waiting:
            need = waiting.pop()
            wanted = tuple(need.get("extra", ()))
            for package in self._named(need):
                known = (package["name"], package.get("version", ""))
                if (*known, wanted) in seen:
                    continue
                seen.add((*known, wanted))
                waiting += _needs(package, wanted)
                if known[1] and known not in told:
                    told.add(known)
                    yield known

    def _named(self, need: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The package that is meant; where the lock has several, it says which version."""
        version = need.get("version")
        return [
            package
            for package in self._packages
            if package["name"] == need["name"] and version in {None, package.get("version")}
        ]


def _needs(
    package: Mapping[str, Any], extras: Sequence[str], groups: Sequence[str] = ()
) -> list[Mapping[str, Any]]:
    """What a package needs in a container."""
    optional, grouped = (
        package.get("optional-dependencies", {}),
        package.get("dev-dependencies", {}),
    )
    needs = [*package.get("dependencies", ())]
    needs += [one for extra in extras for one in optional.get(extra, ())]
    needs += [one for group in groups for one in grouped.get(group, ())]
    return [one for one in needs if "marker" not in one or _holds(Marker(one["marker"]))]


def _default_groups(project: Mapping[str, Any]) -> Sequence[str]:
    chosen = project.get("tool", {}).get("uv", {}).get("default-groups", _DEFAULT_GROUPS)
    return tuple(project.get("dependency-groups", ())) if chosen == "all" else tuple(chosen)


def _installed(place: str, text: str) -> Iterator[FileRequirement]:
    try:
        requirement = Requirement(text)
    except (
        InvalidRequirement
    ):  # pip says what is wrong with it, better than a set of versions would
        return
    if requirement.marker is None or _holds(requirement.marker):
        requirement.marker = None
        yield FileRequirement(place, str(requirement))


def _holds(marker: Marker) -> bool:
    """Whether something conditional is installed in every container, whatever Python it has."""
    return all(
        marker.evaluate({**_LINUX, "python_version": one, "python_full_version": f"{one}.0"})
        for one in _PYTHONS
    )


def _place(path: str, text: str, requirement: str) -> str:
    forms = (requirement, json.dumps(requirement)[1:-1])  # as it is, and in a quoted TOML string
    for number, line in enumerate(text.splitlines(), start=1):
        if any(form in line for form in forms):
            return f"{path}, line {number}:"
    return f"{path}:"


def _package_lines(text: str) -> dict[tuple[str, str], int]:
    """The line of each package's version, by name and version."""
    found: dict[tuple[str, str], int] = {}
    name = ""
    for number, line in zip(count(1), text.splitlines(), strict=False):
        if line.startswith('name = "'):
            name = line.split('"')[1]
        elif line.startswith('version = "'):
            found.setdefault((name, line.split('"')[1]), number)
    return found


def _text(path: str) -> str:
    try:
        return Path(path).expanduser().read_text("utf-8")
    except OSError as error:
        msg = f"{path!r} cannot be read in {str(Path.cwd())!r}: {error.strerror}. Write a path from there."
        raise DeclarationError(msg) from None


def _toml(path: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"{path!r} is not TOML: {error}. Mend the file."
        raise DeclarationError(msg) from None
