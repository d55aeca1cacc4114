"""Memory and CPU limits of containers, by control groups where this machine lets them be made.

Only a *limit* is enforced, the second of ``memory=(request, limit)`` and ``cpu=(request, limit)``;
a request reserves nothing here, and ``ephemeral_disk`` is not looked at.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..protocol import api

__all__ = ["Fence", "Fences", "Limits"]

_LOG = logging.getLogger("modalkit.local")
_PERIOD_US = 100_000
_MIB = 1024 * 1024
_REMOVAL_TRIES, _REMOVAL_PAUSE_S = 20, 0.02


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use at most; 0 is no limit.

    Attributes:
        milli_cpu: Thousandths of a processor.
    """

    memory_mib: int
    milli_cpu: int

    @classmethod
    def of(cls, definition: api.Function) -> Limits:
        """Read the limits of a function."""
        resources = definition.resources
        return cls(resources.memory_mb_max, resources.milli_cpu_max)


@dataclass(frozen=True, slots=True)
class Fence:
    """The control groups of one container."""

    limits: Limits
    folders: tuple[Path, ...]

    @property
    def entrances(self) -> list[str]:
        """Files into which a process writes ``0`` to be inside."""
        return [str(folder / "cgroup.procs") for folder in self.folders]

    @property
    def exceeded_mib(self) -> int:
        """The memory limit, if the kernel killed something in here for it; else 0."""
        killed = any(count for folder in self.folders for count in _kills(folder))
        return self.limits.memory_mib if killed else 0

    def remove(self) -> None:
        """Remove the groups, once everything in them has ended."""
        for folder in self.folders:
            _remove(folder)


class Fences:
    """Makes control groups, below or beside this process's own."""

    def __init__(self) -> None:
        self._count = 0
        self._lacks: set[str] = set()

    def make(self, limits: Limits) -> Fence:
        """Make groups with these limits; those that cannot be made are left out and logged."""
        wanted = []
        if limits.memory_mib:
            size = str(limits.memory_mib * _MIB)
            wanted.append(("memory", {"memory.max": size, "memory.limit_in_bytes": size}))
        if limits.milli_cpu:
            share = limits.milli_cpu * _PERIOD_US // 1000
            values = {"cpu.max": f"{share} {_PERIOD_US}", "cpu.cfs_quota_us": str(share)}
            wanted.append(("cpu", values))
        self._count += 1
        folders: list[Path] = []
        for controller, settings in wanted:
            folder = self._set(controller, settings)
            if folder is not None and folder not in folders:
                folders.append(folder)
        return Fence(limits, tuple(folders))

    @cached_property
    def _parents(self) -> dict[str, list[Path]]:
        """The groups below which one of ours may be made, by controller."""
        found = {controller: list(_places(controller)) for controller in ("memory", "cpu")}
        for parent in {parent for parents in found.values() for parent in parents}:
            _sweep(parent)
        return found

    def _set(self, controller: str, settings: dict[str, str]) -> Path | None:
        """Make a container's group for a controller, the same for both where there is one tree."""
        for parent in self._parents[controller]:
            folder = parent / f"modalkit-{os.getpid()}-{self._count}"
            made = not folder.exists()
            try:
                folder.mkdir(exist_ok=True)
                name = next(name for name in settings if (folder / name).exists())
                (folder / name).write_text(settings[name])
            except (OSError, StopIteration):
                if made:
                    _remove(folder)
                continue
            return folder
        if controller not in self._lacks:
            self._lacks.add(controller)
            _LOG.info(
                "%s limits are not enforced: this machine's control groups do not allow it",
                controller,
            )
        return None


def _places(controller: str) -> Iterator[Path]:
    """Yield the groups of this process, and the one above, in the tree of a controller."""
    trees = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            kind, _, options = after.split(" ", 2)
            if kind == "cgroup2" or (kind == "cgroup" and controller in options.split(",")):
                trees[kind] = Path(before.split(" ")[4])
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            kind = "cgroup" if controllers else "cgroup2"
            if kind not in trees or (controllers and controller not in controllers.split(",")):
                continue
            own = trees[kind] / path.lstrip("/")
            with contextlib.suppress(OSError):  # a group with processes may not pass it on
                (own / "cgroup.subtree_control").write_text(f"+{controller}")
            yield own
            if own != trees[kind]:
                yield own.parent


def _kills(folder: Path) -> Iterator[int]:
    for name in ("memory.events", "memory.oom_control"):
        with contextlib.suppress(OSError):
            for line in (folder / name).read_text().splitlines():
                what, _, count = line.partition(" ")
                if what == "oom_kill":
                    yield int(count)


def _sweep(parent: Path) -> None:
    """Remove what planes that were killed left behind."""
    for folder in parent.glob("modalkit-*-*"):
        if not Path("/proc", folder.name.split("-")[1]).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _remove(folder: Path) -> None:
    """Remove a group; the kernel may still count the last process that left it."""
    for _ in range(_REMOVAL_TRIES):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(_REMOVAL_PAUSE_S)
        else:
            return
