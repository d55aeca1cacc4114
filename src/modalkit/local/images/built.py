"""What a build left behind, and whether it still holds."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .requirements import Installed, host_search_path

__all__ = ["HOST_SERIES", "Built", "host_image"]

HOST_SERIES = "{}.{}".format(*sys.version_info)


@dataclass(frozen=True, slots=True)
class Built:
    """An image as containers see it.

    Attributes:
        key: Names this build; an image above it was built on this very one.
        python: The interpreter of its containers; empty for the one that runs the plane.
        version: That interpreter's version.
        home: Where that interpreter is installed, if it is not the plane's.
        environments: Folders of the Python environments, topmost first.
        layers: Folders of files laid over the machine's, lowest first.
        host_below: Whether this machine's packages can be imported too.
        lacking: Parts that could not be had, from the base up.
        reused: Requirements that this machine's packages met.
        base: The key of the build below.
        took_s: Seconds that building it took.
    """

    key: str
    python: str = ""
    version: str = platform.python_version()
    home: str = ""
    environments: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    host_below: bool = True
    lacking: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    base: str = ""
    took_s: float = 0.0

    @property
    def interpreter(self) -> str:
        """The path of its interpreter."""
        return self.python or sys.executable

    @property
    def series(self) -> str:
        """Its Python's series, such as ``"3.11"``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def visible(self) -> tuple[Path, ...]:
        """The folders of this machine that its containers must see at their own paths."""
        return tuple(map(Path, (*self.environments, *([self.home] if self.home else []))))

    @property
    def search_path(self) -> list[str]:
        """The folders it imports packages from, first ones win."""
        own = [
            str(path)
            for environment in self.environments
            for path in Path(environment, "lib").glob("python3*/site-packages")
        ]
        return own + (host_search_path() if self.host_below else [])

    def above(self, key: str) -> Built:
        """Return the start of a build on top of this one."""
        return replace(self, key=key, base=self.key, reused=(), took_s=0.0)

    def is_there(self) -> bool:
        """Return whether its folders are there."""
        folders = [*self.environments, *self.layers]
        return all(Path(folder).is_dir() for folder in folders)

    def holds(self) -> bool:
        """Return whether its folders are there and this machine still has what it relied on."""
        if not self.is_there() or not Path(self.interpreter).exists():
            return False
        if self.host_below and self.version != platform.python_version():
            return False
        installed = Installed(self.search_path)
        return all(installed.satisfies(line) for line in self.reused)

    def write(self, path: Path) -> None:
        """Write it down, whole or not at all."""
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)

    @classmethod
    def read(cls, path: Path) -> Built | None:
        """Read it back; None if it was never finished or cannot be read."""
        try:
            known = json.loads(path.read_text("utf-8"))
            lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
            return cls(**{**known, **lists})
        except (OSError, ValueError, TypeError):
            return None


def host_image() -> Built:
    """Return what every image begins with: this machine's Python and packages."""
    return Built(key="host")
