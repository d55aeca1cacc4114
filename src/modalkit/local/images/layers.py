"""File layers: what an image's steps add, change and remove, as a folder laid over the machine's.

While an image is built its changes lie where `launch/` puts them (``of/X/upper`` for top folder X,
``own/X/upper`` for a folder that containers have their own version of, ``root`` for new top entries).
`finish` makes one folder of them.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..processes.isolation import MASKS
from ..protocol import api

__all__ = ["finish", "is_whiteout", "place_in", "placed"]


def place_in(changes: Path, path: str) -> Path:
    """Return where a file at ``path`` in the image goes while the image is built."""
    top, _, below = path.lstrip("/").partition("/")
    if f"/{top}" in MASKS:
        folder = changes / "own" / top / "upper"
    elif below and Path("/", top).is_dir() and not Path("/", top).is_symlink():
        folder = changes / "of" / top / "upper"
    elif below and Path("/", top).is_symlink():
        return place_in(changes, posixpath.join(Path("/", top).resolve(), below))
    else:
        folder = changes / "root" / top
    target = folder / below if below else folder
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_whiteout(target) or target.is_symlink() or target.is_file():
        target.unlink()
    return target


def placed(
    files: Iterable[api.MountFile], source: str, destination: str
) -> Iterator[tuple[str, api.MountFile]]:
    """Yield where a Dockerfile's COPY puts the files of its context that match."""
    base = posixpath.normpath(f"/{source}")
    for entry in files:
        name = entry.filename
        if base == "/":
            yield posixpath.join(destination, name.lstrip("/")), entry
        elif name == base:
            whole_name = destination.endswith("/")
            at = (
                posixpath.join(destination, posixpath.basename(base)) if whole_name else destination
            )
            yield at, entry
        elif name.startswith(f"{base}/"):
            yield posixpath.join(destination, name[len(base) + 1 :]), entry
        elif "*" in source and Path(name.lstrip("/")).match(source.lstrip("/")):
            yield posixpath.join(destination, posixpath.basename(name)), entry


def finish(changes: Path, layer: Path, mounted: Iterable[str]) -> bool:
    """Make a layer of what was changed; return whether anything was.

    Paths in ``mounted`` only served as mount points during the build.
    """
    layer.mkdir(parents=True)
    for upper in [*changes.glob("of/*/upper"), *changes.glob("own/*/upper")]:
        target = layer / upper.parent.name.replace("%", "/")  # as `launch.root` names nested ones
        target.parent.mkdir(parents=True, exist_ok=True)
        _merge(upper, target)
    for entry in changes.glob("root/*"):
        if not os.path.lexists(f"/{entry.name}"):
            _merge(entry, layer / entry.name)
    shutil.rmtree(changes, ignore_errors=True)
    for path in mounted:
        _remove_mount_point(layer, layer / path.lstrip("/"))
    for entry in layer.iterdir():
        with contextlib.suppress(OSError):  # not empty, or no folder
            entry.rmdir()
    return any(layer.iterdir())


def _remove_mount_point(layer: Path, point: Path) -> None:
    """Remove an empty folder and those above it that held nothing else."""
    with contextlib.suppress(OSError):
        while point != layer:
            point.rmdir()
            point = point.parent


def _merge(source: Path, target: Path) -> None:
    """Move ``source`` to ``target``, into what is there already."""
    if not os.path.lexists(target):
        source.rename(target)
    elif source.is_dir() and target.is_dir() and not (source.is_symlink() or target.is_symlink()):
        for entry in source.iterdir():
            _merge(entry, target / entry.name)


def is_whiteout(path: Path) -> bool:
    """Return whether this is the kernel's mark of a removed file."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
