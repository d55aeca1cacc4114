"""From what a container changed below its mount to a layer of the volume.

The container's writes are in the *upper* folder of its overlay mount. A commit while nothing below
the mount is open links those files into a new layer: no byte is copied, whatever their size, and
the container goes on with an empty upper folder. With files open the container may go on writing to
them, so changed files are copied, and a manifest remembers what was.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .changes import copied
from .stacks import (
    Stack,
    attribute,
    descend,
    find,
    is_opaque,
    is_whiteout,
    like,
    mark_opaque,
    merge,
    whiteout,
)

__all__ = ["Manifest", "Shipment", "changed"]

# Set by the kernel on a folder that was renamed; only mounts made by root have it.
_REDIRECT = "trusted.overlay.redirect"
# Set by such a mount on what it copied up, with every mark of other kinds of mounts on it.
_COPIED_UP, _OPAQUE = "trusted.overlay.origin", "trusted.overlay.opaque"

Manifest = dict[str, tuple[int | bool, ...]]
"""Every path of an upper folder that was committed, with what told whether it changed since."""


def changed(upper: Path) -> bool:
    """Return whether a container changed anything."""
    with os.scandir(upper) as entries:
        return any(True for _ in entries)


@dataclass
class Shipment:
    """One commit of an upper folder.

    Attributes:
        upper: What the container changed.
        base: What its mount shows below that.
        layer: The new layer's folder that stands for the mount's root.
        shipped: What earlier commits of this upper folder took.
        copy: Whether the container may still write to these files.
        found: What this commit and earlier ones took, once it is done.
    """

    upper: Path
    base: Stack
    layer: Path
    shipped: Manifest
    copy: bool
    found: Manifest = field(default_factory=dict)

    def pack(self) -> None:
        """Fill the layer."""
        self._folder(self.upper, PurePosixPath(), self.base)
        for path in self.shipped.keys() - self.found.keys():
            parent = str(PurePosixPath(path).parent)
            if parent == "." or stat.S_ISDIR(self.found.get(parent, (0,))[0]):
                self._clear(path)
                whiteout(self._place(path))

    def _folder(self, folder: Path, path: PurePosixPath, below: Stack) -> None:
        for entry in sorted(folder.iterdir()):
            self._entry(entry, path / entry.name, below)

    def _entry(self, entry: Path, path: PurePosixPath, below: Stack) -> None:
        name, status = str(path), entry.lstat()
        print_of = _fingerprint(entry, status)
        self.found[name] = print_of
        known = self.shipped.get(name) == print_of
        if stat.S_ISDIR(status.st_mode):
            hides = _hides(entry)
            origin = () if hides else self._origin(entry, below)
            if not known:
                self._new_folder(name, status, origin, opaque=hides or _moved(entry))
            self._folder(entry, path, origin)
        elif not known:
            self._clear(name)
            self._file(entry, status, self._place(name))

    def _new_folder(
        self, name: str, status: os.stat_result, origin: Stack, *, opaque: bool
    ) -> None:
        if opaque:
            self._clear(name)
        place = self._place(name)
        place.mkdir(exist_ok=True)
        if opaque:
            # A renamed folder takes along what it showed; nothing of what was here remains.
            merge(origin, place, bottom=False)
            mark_opaque(place)
        like(place, status)

    def _file(self, entry: Path, status: os.stat_result, place: Path) -> None:
        if is_whiteout(status):
            whiteout(place)
        elif self.copy and (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            copied(entry, place)
        else:
            os.link(entry, place, follow_symlinks=False)

    def _origin(self, entry: Path, below: Stack) -> Stack:
        """Return the committed folders whose content a folder of the upper shows too."""
        redirect = attribute(entry, _REDIRECT)
        if redirect is None:
            return descend(below, entry.name)[0]
        name = os.fsdecode(redirect)
        return find(self.base, name) if name.startswith("/") else descend(below, name)[0]

    def _place(self, path: str) -> Path:
        place = self.layer / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _clear(self, path: str) -> None:
        """Remove what a renamed folder brought to a path that the container changed afterwards."""
        place = self.layer / path
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)


def _moved(folder: Path) -> bool:
    return attribute(folder, _REDIRECT) is not None


def _hides(folder: Path) -> bool:
    """Whether a folder of the upper hides the committed ones, by the marks of its own kind of mount."""
    if attribute(folder, _COPIED_UP) is not None:
        return attribute(folder, _OPAQUE) == b"y"
    return is_opaque(folder)


def _fingerprint(entry: Path, status: os.stat_result) -> tuple[int | bool, ...]:
    if is_whiteout(status):
        return (status.st_mode,)  # the kernel links all of them to one
    if stat.S_ISDIR(status.st_mode):
        return (status.st_mode, status.st_ino, _hides(entry))
    changes = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_mode, status.st_ino, *changes)
