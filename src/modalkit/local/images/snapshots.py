"""The files of a running container as a layer of an image."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path

from ..processes.launch import ContainerSpec
from .layers import finish, is_whiteout

__all__ = ["pack"]


def pack(spec: ContainerSpec, layer: Path) -> None:
    """Make a layer of what a container has beyond its image, as it is at this moment.

    That is what it wrote, changed and removed, and the files that were mounted in it. Its volumes and
    buckets are no part of it.
    """
    source = Path(spec["changes"])
    changes = layer.with_name("changes")
    uppers = [*source.glob("of/*/upper"), *source.glob("own/*/upper")]
    for written in [*uppers, source / "root"]:
        _copy_folder(written, changes / written.relative_to(source))
    mount_points = [*spec["keep"], *(bind["target"] for bind in spec["binds"])]
    finish(changes, layer, mount_points)
    _add_mounted(Path(spec["layer"]), layer)


def _copy_folder(source: Path, target: Path) -> None:
    """Copy a folder that may change meanwhile; what marks removed files is copied as such."""
    target.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(source):
            if entry.is_dir(follow_symlinks=False):
                _copy_folder(Path(entry.path), target / entry.name)
            else:
                with contextlib.suppress(FileNotFoundError):
                    _copy_file(Path(entry.path), target / entry.name)
        _make_like(source, target)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file, a link, or the mark of a removed file; sockets and pipes are left out."""
    if is_whiteout(source):
        os.mknod(target, stat.S_IFCHR, 0)
    elif source.is_symlink() or source.is_file():
        shutil.copyfile(source, target, follow_symlinks=False)
        _make_like(source, target)


def _make_like(source: Path, target: Path) -> None:
    """Give a copy the owner, permissions, times and attributes of what it was copied from."""
    if os.geteuid() == 0:
        status = source.lstat()
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    shutil.copystat(source, target, follow_symlinks=False)


def _add_mounted(source: Path, layer: Path) -> None:
    """Add the files that were mounted, but those the container changed or removed.

    Where one is mounted over a folder of this machine, an empty file stands for it in the layer.
    """
    for entry in os.scandir(source):
        place = layer / entry.name
        there = os.path.lexists(place)
        if entry.is_dir(follow_symlinks=False):
            if not there or stat.S_ISDIR(place.lstat().st_mode):
                place.mkdir(exist_ok=True)
                _add_mounted(Path(entry.path), place)
        elif not there or _is_empty_file(place):
            shutil.copy2(entry.path, place)


def _is_empty_file(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and not status.st_size
