"""The files of a running container, or of one folder of it, as a layer of an image."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import threading
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..processes.launch import ContainerSpec
from ..processes.launch.root import GRAFTED
from .layers import finish, is_whiteout

__all__ = ["pack", "pack_folder"]

# The kernel's mark of a folder that shows nothing of those below it; a user without root has the second.
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_MOST_LINKS = 40  # as many as the kernel follows on the way to one file
_ENDED = "it ended meanwhile, and they are gone. Keep them while it runs."
_GIVEN_UP = "nobody waits for them any more."


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
    spec: ContainerSpec,
    root: Path,
    path: str,
    layer: Path,
    stopped: threading.Event,
    *,
    mounted: frozenset[str],
) -> None:
    """Make a layer of one folder of a container, as it is at this moment.

    That is what the container's image and the container itself have there: this machine's files are no
    part of it, and of what is mounted below it, at the paths ``mounted``, only the places are. A
    folder in such a mount is kept whole. ``root`` is the container's root folder as this machine
    sees it. It is given up when ``stopped`` is set.

    Raises:
        OSError: It could not be made whole.
    """
    folder = _found(root, path)
    if not folder.is_dir():
        if not root.exists():
            raise FileNotFoundError(_ENDED)
        msg = f"there is no folder {path!r} in it."
        raise NotADirectoryError(msg)
    inside = f"/{folder.relative_to(root)}"
    if any(f"{inside}/".startswith(f"{mount}/") for mount in mounted):
        _copy_folder(folder, layer, stopped)
    else:
        _copy_own(folder, layer, inside, _Own.of(spec, mounted), stopped)
    if not root.exists():
        raise FileNotFoundError(_ENDED)


@dataclass(frozen=True, slots=True)
class _Own:
    """Tells what a container shows of its own from what it shows of this machine.

    Attributes:
        mounted: Where volumes and the like are mounted.
        places: Folders that lie over this machine's, each with the path at which it does.
    """

    mounted: frozenset[str]
    places: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, spec: ContainerSpec, mounted: frozenset[str]) -> _Own:
        """Find what a container lays over this machine's files."""
        changes = Path(spec["changes"])
        over = [str(changes / "root"), *spec["lowers"], spec["layer"]]
        uppers = [*changes.glob("of/*/upper"), *changes.glob("own/*/upper")]
        written = [("/" + upper.parent.name.replace("%", "/"), str(upper)) for upper in uppers]
        return cls(mounted, (*(("", folder) for folder in over), *written))

    def has(self, path: str) -> bool:
        """Return whether what a container shows at a path is its own."""
        return any(
            path.startswith(f"{at}/") and os.path.lexists(folder + path[len(at) :])
            for at, folder in self.places
        )


def _copy_own(source: Path, target: Path, path: str, own: _Own, stopped: threading.Event) -> None:
    """Copy what a container has of its own in a folder that may change meanwhile."""
    target.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(source):
            if stopped.is_set():
                raise InterruptedError(_GIVEN_UP)
            inner = f"{path}/{entry.name}"
            if inner in own.mounted:
                (target / entry.name).mkdir()
            elif not own.has(inner):
                continue
            elif entry.is_dir(follow_symlinks=False):
                _copy_own(Path(entry.path), target / entry.name, inner, own, stopped)
            else:
                with contextlib.suppress(FileNotFoundError):
                    _copy_file(Path(entry.path), target / entry.name)
        _make_like(source, target)


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


def _copy_folder(source: Path, target: Path, stopped: threading.Event) -> None:
    """Copy a folder that may change meanwhile; what marks removed files is copied as such."""
    target.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(source):
            if stopped.is_set():
                raise InterruptedError(_GIVEN_UP)
            if entry.is_dir(follow_symlinks=False):
                _copy_folder(Path(entry.path), target / entry.name, stopped)
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
