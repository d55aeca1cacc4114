"""The files of a running container, or of one folder of it, as a layer of an image."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import threading
from pathlib import Path, PurePosixPath

from ..processes.launch import ContainerSpec
from ..processes.launch.root import GRAFTED
from .layers import finish, is_whiteout

__all__ = ["pack", "pack_folder"]

# The kernel's mark of a folder that shows nothing of those below it; a user without root has the second.
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_MOST_LINKS = 40  # as many as the kernel follows on the way to one file
_ENDED = "it ended meanwhile, and they are gone. Keep them while it runs."


def pack(spec: ContainerSpec, layer: Path, stopped: threading.Event) -> None:
    """Make a layer of what a container has beyond its image, as it is at this moment.

    That is what it wrote, changed and removed, and the files that were mounted in it. Its volumes and
    buckets are no part of it. It is given up when ``stopped`` is set.

    Raises:
        OSError: It could not be made whole.
    """
    source = Path(spec["changes"])
    changes = layer.with_name("changes")
    uppers = [*source.glob("of/*/upper"), *source.glob("own/*/upper")]
    for written in [*uppers, source / "root"]:
        _copy_folder(written, changes / written.relative_to(source), stopped)
    if not source.is_dir():
        raise FileNotFoundError(_ENDED)
    own = frozenset("/" + path.name.replace("%", "/") for path in source.glob("own/*"))
    mount_points = [*spec["keep"], *(bind["target"] for bind in spec["binds"])]
    finish(changes, layer, mount_points)
    _add_mounted(Path(spec["layer"]), layer, "", own)
    for grafted in source.glob(f"{GRAFTED}/*"):
        _copy_file(grafted, layer / grafted.name.replace("%", "/"))


def pack_folder(
    root: Path, path: str, apart: frozenset[str], layer: Path, stopped: threading.Event
) -> None:
    """Make a layer of a container's folder, as it is at this moment.

    Of what is mounted below it at the paths ``apart`` it has empty folders. ``root`` is the container's
    root folder as this machine sees it. It is given up when ``stopped`` is set.

    Raises:
        OSError: It could not be made whole.
    """
    folder = _found(root, path)
    if not folder.is_dir():
        if not root.exists():
            raise FileNotFoundError(_ENDED)
        msg = f"there is no folder {path!r} in it."
        raise NotADirectoryError(msg)
    _copy_folder(folder, layer, stopped, frozenset(f"{root}{one}" for one in apart))
    if not root.exists():
        raise FileNotFoundError(_ENDED)


def _found(root: Path, path: str) -> Path:
    """Return where a container's path is, links on the way followed as the container would."""
    place, links = root, 0
    ahead = [*PurePosixPath(path).parts[1:]]
    while ahead:
        name = ahead.pop(0)
        if name == "..":
            place = place.parent if place != root else root
            continue
        if not (place / name).is_symlink():
            place /= name
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = (place / name).readlink()
        if target.is_absolute():
            place = root
        ahead = [*(part for part in target.parts if part != "/"), *ahead]
    return place


def _copy_folder(
    source: Path, target: Path, stopped: threading.Event, apart: frozenset[str] = frozenset()
) -> None:
    """Copy a folder that may change meanwhile; what marks removed files is copied as such.

    Of the folders ``apart`` only their places are copied.
    """
    target.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(source):
            if stopped.is_set():
                msg = "nobody waits for them any more."
                raise InterruptedError(msg)
            if entry.path in apart:
                (target / entry.name).mkdir()
            elif entry.is_dir(follow_symlinks=False):
                _copy_folder(Path(entry.path), target / entry.name, stopped, apart)
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


def _add_mounted(source: Path, layer: Path, path: str, own: frozenset[str]) -> None:
    """Add the files that were mounted below a path, but those the container changed or removed.

    In a folder of this machine, an empty file in the layer stands for one that is mounted over it. In
    a folder that is the container's own, named in ``own``, each file in the layer is the container's.
    """
    for entry in os.scandir(f"{source}{path}"):
        target = f"{path}/{entry.name}"
        place = Path(f"{layer}{target}")
        there = os.path.lexists(place)
        inside = any(target.startswith(f"{folder}/") for folder in own)
        if entry.is_dir(follow_symlinks=False):
            if not there or (place.is_dir() and not place.is_symlink()):
                place.mkdir(exist_ok=True)
                if not (inside and _is_opaque(place)):
                    _add_mounted(source, layer, target, own)
        elif not there or (not inside and _is_empty_file(place)):
            shutil.copy2(entry.path, place)


def _is_empty_file(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and not status.st_size


def _is_opaque(folder: Path) -> bool:
    """Return whether the container made a folder anew, in the place of one that it removed."""
    marks = set(os.listxattr(folder)) & {*_OPAQUE}
    return any(os.getxattr(folder, mark) == b"y" for mark in marks)
