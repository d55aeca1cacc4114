"""Reading folders laid over one another, by the rules of the kernel's overlay file system.

A volume is a stack of layers, the newest first. A file in a layer replaces what is below it; a
*whiteout* (a character device 0:0) hides what is below it; a folder merges with the folders below
it, unless it is marked *opaque*.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = [
    "Stack",
    "attribute",
    "descend",
    "find",
    "is_opaque",
    "is_whiteout",
    "like",
    "mark_opaque",
    "merge",
    "names",
    "walk",
    "whiteout",
]

Stack = tuple[Path, ...]
"""Where one path of a volume is, newest first: a single file, or the folders that merge."""

# A mount made by root has the first, one made in a user namespace the second.
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def descend(stack: Stack, name: str) -> tuple[Stack, bool]:
    """Return where ``name`` is, and whether layers below ``stack`` could not add to it."""
    found: list[Path] = []
    for folder in stack:
        path = folder / name
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if is_whiteout(status):
            return tuple(found), True
        if not stat.S_ISDIR(status.st_mode):
            return tuple(found) or (path,), True
        found.append(path)
        if is_opaque(path):
            return tuple(found), True
    return tuple(found), False


def find(stack: Stack, path: str) -> Stack:
    """Return where a path below ``stack`` is; empty when nothing is there."""
    for name in PurePosixPath(path.strip("/")).parts:
        if not stack or not stack[0].is_dir() or stack[0].is_symlink():
            return ()
        stack, _ = descend(stack, name)
    return stack


def names(stack: Stack) -> list[str]:
    """Return every name in the folders of ``stack``, hidden ones included, in order."""
    return sorted({name for folder in stack for name in os.listdir(folder)})  # noqa: PTH208 - names are wanted, not paths


def walk(stack: Stack, path: str = "", *, recursive: bool) -> Iterator[tuple[str, Path]]:
    """Yield what a folder shows as ``(path in the volume, file on this machine)``."""
    folders: list[tuple[str, Stack]] = []
    for name in names(stack):
        below, _ = descend(stack, name)
        if not below:
            continue
        inner = f"{path}/{name}" if path else name
        yield inner, below[0]
        if recursive and below[0].is_dir() and not below[0].is_symlink():
            folders.append((inner, below))
    for inner, below in folders:
        yield from walk(below, inner, recursive=True)


def merge(stack: Stack, target: Path, *, bottom: bool) -> None:
    """Fill the folder ``target`` so that it alone shows what ``stack`` shows.

    Files become hard links, which is safe because no layer's file is ever written to.

    Args:
        stack: Folders of layers.
        target: An empty folder on the same file system.
        bottom: Whether no layer is below, so that nothing has to be hidden any more.
    """
    for name in names(stack):
        found, closed = descend(stack, name)
        place = target / name
        if not found:
            if not bottom:
                whiteout(place)
        elif found[0].is_dir() and not found[0].is_symlink():
            place.mkdir()
            merge(found, place, bottom=bottom)
            like(place, found[0].lstat())
            if closed and not bottom:
                mark_opaque(place)
        else:
            os.link(found[0], place, follow_symlinks=False)


def like(folder: Path, status: os.stat_result) -> None:
    """Give a folder the owner, permissions and time of another."""
    if os.geteuid() == 0:
        os.chown(folder, status.st_uid, status.st_gid)
    folder.chmod(stat.S_IMODE(status.st_mode))
    os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))


def is_whiteout(status: os.stat_result) -> bool:
    """Return whether this is what hides a name below."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def whiteout(path: Path) -> None:
    """Hide what layers below have at ``path``."""
    os.mknod(path, stat.S_IFCHR, 0)


def is_opaque(folder: Path) -> bool:
    """Return whether a folder hides the folders below it."""
    return any(attribute(folder, name) == b"y" for name in _OPAQUE)


def mark_opaque(folder: Path) -> None:
    """Let a folder hide the folders below it, for mounts of root and of others."""
    if sys.platform == "linux":
        for name in _OPAQUE:
            with contextlib.suppress(PermissionError):
                os.setxattr(folder, name, b"y")


def attribute(path: Path, name: str) -> bytes | None:
    """Return an extended attribute, or None when it is not set."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.getxattr(path, name, follow_symlinks=False)
    return None
