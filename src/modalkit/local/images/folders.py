"""The folder of an image: its builds, and which of them containers get."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ..store.state import remove_tree
from .built import Built

__all__ = ["current_build", "make_current", "remove_halves", "size_of"]

_BUILT, _CURRENT = "built.json", "current"


def make_current(build: Path, built: Built) -> None:
    """Make what lies in a build's folder the one that containers get."""
    built.write(build / _BUILT)
    partial = build.parent / f"{_CURRENT}.{build.name}"
    partial.write_text(build.name)
    partial.rename(build.parent / _CURRENT)


def current_build(folder: Path) -> Built | None:
    """Return the build that containers of an image get, if there is one."""
    current = folder / _CURRENT
    try:
        return Built.read(current.with_name(current.read_text()) / _BUILT)
    except OSError:
        return None


def remove_halves(folder: Path) -> None:
    """Remove what interrupted builds left; call it with the lock held."""
    for path in folder.iterdir():
        if path.is_dir() and not (path / _BUILT).exists():
            remove_tree(path)


def size_of(folder: Path) -> int:
    """Return the bytes that a folder takes on disk by itself, without what others share with it."""
    size = 0
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):  # it is being built, or removed
                status = Path(root, name).lstat()
                size += status.st_blocks * 512 if status.st_nlink == 1 else 0
    return size
