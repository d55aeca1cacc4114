"""Changing a volume from outside its containers: what ``modal volume put``, ``cp`` and ``rm`` do."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from grpclib.const import Status

from ..protocol import refuse
from .stacks import Stack, find, is_whiteout, mark_opaque, walk, whiteout

__all__ = ["Change", "copied", "relative"]


def relative(path: str) -> str:
    """Return a path of a volume without leading slash; one that leads out of it is refused."""
    inside = os.path.normpath("/".join(["", *path.split("/")])).lstrip("/")
    climbed = os.path.normpath(path.lstrip("/"))
    if climbed.split("/")[0] == "..":
        refuse(Status.INVALID_ARGUMENT, f"{path!r} is outside the volume.")
    return inside


@dataclass(frozen=True, slots=True)
class Change:
    """One change to a volume.

    Attributes:
        committed: What it starts from.
        root: A new layer to fill, or the folder of a volume that is changed in place.
        layered: Whether ``root`` is a layer, in which a removal leaves a mark.
    """

    committed: Stack
    root: Path
    layered: bool

    def existing(self, path: str) -> Stack:
        """Return where a path is now, or refuse when nothing is there."""
        found = self._now(path)
        if not found:
            refuse(Status.NOT_FOUND, f"No such file or directory: {path!r}")
        return found

    def target(self, path: str, *, overwrite: bool) -> Path:
        """Return where to write the file ``path``; its parents exist then, and it does not."""
        found = self._now(path)
        if found and _is_folder(found[0]):
            refuse(Status.ALREADY_EXISTS, f"{path!r} is a directory in the volume.")
        if found and not overwrite:
            refuse(Status.ALREADY_EXISTS, f"{path!r} already exists; use force to overwrite it.")
        place = self._place(path)
        place.unlink(missing_ok=True)
        return place

    def folder(self, path: str) -> Path:
        """Return the folder ``path``, made when it is not there."""
        found = self._now(path)
        if found and not _is_folder(found[0]):
            refuse(Status.INVALID_ARGUMENT, f"{path!r} is not a directory.")
        place = self._place(path)
        self._make(place)
        return place

    def remove(self, path: str, *, recursive: bool) -> None:
        """Remove a file, or with ``recursive`` a folder."""
        name = relative(path)
        found = self.existing(path)
        if _is_folder(found[0]) and not recursive:
            refuse(
                Status.INVALID_ARGUMENT, f"{path!r} is a directory; pass recursive to remove it."
            )
        for inner in [one for one, _ in walk(found, recursive=False)] if not name else [name]:
            self._remove(inner)

    def copy(self, sources: list[str], destination: str, *, recursive: bool) -> None:
        """Copy within the volume, as ``cp`` does; several files make the folder they go into."""
        target = relative(destination)
        into = self._now(target)
        is_folder = bool(into) and _is_folder(into[0])
        several = len(sources) > 1
        if not is_folder and (bool(into) if several else destination.endswith("/")):
            refuse(Status.INVALID_ARGUMENT, f"{destination!r} is not a directory.")
        for path in sources:
            source = relative(path)
            final = f"{target}/{Path(source).name}" if is_folder or several else target
            self._copy(path, self.existing(source), final, recursive=recursive)

    def _copy(self, path: str, found: Stack, final: str, *, recursive: bool) -> None:
        if not _is_folder(found[0]):
            copied(found[0], self.target(final, overwrite=True))
            return
        if not recursive:
            refuse(Status.INVALID_ARGUMENT, f"{path!r} is a directory; pass recursive.")
        if f"{relative(final)}/".startswith(f"{relative(path)}/"):
            refuse(Status.INVALID_ARGUMENT, f"{path!r} cannot be copied into itself.")
        self.folder(final)
        for inner, file in list(walk(found, recursive=True)):
            if _is_folder(file):
                self.folder(f"{final}/{inner}")
            else:
                copied(file, self.target(f"{final}/{inner}", overwrite=True))

    def _now(self, path: str) -> Stack:
        stack = self.committed if not self.layered else (self.root, *self.committed)
        return find(stack, relative(path))

    def _place(self, path: str) -> Path:
        """Return where a path belongs in the root, and make its parents."""
        name = relative(path)
        for parent in list(Path(name).parents)[-2::-1]:
            found = self._now(str(parent))
            if found and not _is_folder(found[0]):
                refuse(Status.INVALID_ARGUMENT, f"{str(parent)!r} is not a directory.")
            self._make(self.root / parent)
        return self.root / name

    def _make(self, folder: Path) -> None:
        """Make a folder in the root; where one was removed it must not show what that had."""
        removed = folder.exists() and is_whiteout(folder.lstat())
        if removed:
            folder.unlink()
        folder.mkdir(exist_ok=True)
        if removed:
            mark_opaque(folder)

    def _remove(self, name: str) -> None:
        place = self.root / name
        if _is_folder(place):
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        if self.layered and find(self.committed, name):
            whiteout(self._place(name))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def copied(source: Path, target: Path) -> None:
    """Copy a file or link with its permissions and times, sharing blocks where the disk can."""
    status = source.lstat()
    if not stat.S_ISREG(status.st_mode):
        shutil.copy2(source, target, follow_symlinks=False)
        return
    with source.open("rb") as readable, target.open("wb") as writable:
        if sys.platform == "linux":
            _clone(readable.fileno(), writable.fileno(), status.st_size)
        shutil.copyfileobj(readable, writable)  # what the kernel did not copy
    shutil.copystat(source, target)


def _clone(source: int, target: int, size: int) -> None:
    """Let the kernel copy up to ``size`` bytes; both files are then at the first byte it left."""
    with contextlib.suppress(OSError):
        while size > 0 and (count := os.copy_file_range(source, target, size)):
            size -= count
