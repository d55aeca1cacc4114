"""A volume on disk: its committed state, how that changes at once or not at all, and who sees it.

    volumes/ID/
      head.json         the committed state: the names of its layers, the newest first
      deleted           there once the volume is deleted; its containers go on with it
      lock              held by whoever changes any of this, in whatever process
      empty/            layers without anything
      layers/7/         an immutable tree; see stacks.py
      mounts/PID.1/     one mount of a container of the plane PID
        layers.json     the layers it sees, which therefore stay
        upper/, work/   what the container changed since
      pins/PID.HOUR/    files that are being downloaded

A commit adds one layer, which costs as much as what changed. Layers are then merged so that each is
at least twice as large as the one above it: a file is linked anew about log2(files) times in its
life, and no stack is higher than that. The rename of ``head.json`` is the commit; a process that is
killed before it leaves rubbish that the next change removes.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from grpclib.exceptions import GRPCError

from ..store.state import remove_tree
from .stacks import Stack, find, merge

__all__ = ["Generations", "Lease"]

_GROWTH = 2
_GONE = "gone-"
# A layer is rubbish by its name until it is whole, so that one whose maker was killed goes with the next change.
_MERGING = f"{_GONE}merging"
_HOUR_S = 3600
# The kernel wants a lower folder, and two where there is no upper one.
_EMPTY, _EMPTY_TOO = "empty/1", "empty/2"
_SERIAL = itertools.count(1)
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class _Layer:
    name: str
    entries: int


@dataclass(frozen=True, slots=True)
class Lease:
    """One mount's hold on layers, with a place for what it changes.

    Attributes:
        folder: Holds ``upper`` and ``work``, and the names of the layers.
        stack: What the mount sees, at the path of the volume that it shows.
        options: For an overlay mount made in the volume's folder.
    """

    folder: Path
    stack: Stack
    options: str

    @property
    def upper(self) -> Path:
        """What the container changed."""
        return self.folder / "upper"


class Generations:
    """One volume's folder. Every method may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self) -> None:
        """Make the folder, if it is not there."""
        for name in ("layers", "mounts", "pins", _EMPTY, _EMPTY_TOO):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def stack(self) -> Stack:
        """Return the committed state."""
        return tuple(self.folder / "layers" / layer.name for layer in self._layers())

    def read(self, look: Callable[[Stack], _Found]) -> _Found:
        """Return what ``look`` finds in the committed state, whole although others may commit."""
        while True:
            stack = self.stack()
            try:
                found = look(stack)
            except (OSError, GRPCError):
                if _stands(stack):
                    raise
            else:
                if _stands(stack):
                    return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process and thread from changing this volume meanwhile."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def new_layer(self) -> Iterator[Path]:
        """Give a folder to fill, and commit it afterwards; an error commits nothing.

        The volume must be locked.
        """
        staging = self.folder / "layers" / "new"
        remove_tree(staging)
        staging.mkdir()
        try:
            yield staging
            if entries := _count(staging):
                self._publish([_Layer(self._adopt(staging), entries), *self._layers()])
        finally:
            remove_tree(staging)

    def flatten(self) -> Path:
        """Return the one folder that holds the whole committed state; the volume must be locked."""
        layers = self._layers()
        if len(layers) != 1:
            self._publish([self._merged(layers, bottom=True)])
        return self.stack()[0]

    def lease(self, path: str, *, writable: bool) -> Lease:
        """Hold the committed state for a mount of ``path``; the volume must be locked."""
        folder = self.folder / "mounts" / f"{os.getpid()}.{next(_SERIAL)}"
        remove_tree(folder)
        folder.mkdir()
        layers = [layer.name for layer in self._layers()]
        (folder / "layers.json").write_text(json.dumps(layers))
        stack = find(self.stack(), path)
        lowers = [str(lower.relative_to(self.folder)) for lower in stack]
        options = f"lowerdir={':'.join(map(_escaped, [*lowers, _EMPTY]))}"
        if writable:
            (folder / "upper").mkdir()
            (folder / "work").mkdir()
            place = folder.relative_to(self.folder)
            options += f",upperdir={place}/upper,workdir={place}/work"
        else:
            options += f":{_EMPTY_TOO}"
        return Lease(folder, stack, options)

    def release(self, lease: Lease) -> None:
        """End a mount's hold; the volume must be locked."""
        remove_tree(lease.folder)
        self._remove_unused()

    def pin(self, file: Path) -> Path:
        """Return another name for a committed file, which stays for an hour whatever is committed."""
        hour = int(time.time() // _HOUR_S)
        folder = self.folder / "pins" / f"{os.getpid()}.{hour}"
        if not folder.exists():
            folder.mkdir()
            for old in (self.folder / "pins").iterdir():
                if not _plane_lives(old) or int(old.suffix[1:]) < hour - 1:
                    remove_tree(old)
        pin = folder / f"{next(_SERIAL)}"
        pin.unlink(missing_ok=True)
        os.link(file, pin)
        return pin

    def delete(self) -> None:
        """Remove the folder, or have that done when no container mounts the volume any more."""
        (self.folder / "deleted").touch()
        self.remove_deleted()

    def remove_deleted(self) -> None:
        """Remove the folder if the volume was deleted and no container of any plane mounts it."""
        if (self.folder / "deleted").exists():
            mounts = (self.folder / "mounts").iterdir()
            if not any(_plane_lives(mount) for mount in mounts):
                remove_tree(self.folder)

    def _layers(self) -> list[_Layer]:
        try:
            stored = json.loads((self.folder / "head.json").read_bytes())
        except FileNotFoundError:
            return []
        return [_Layer(name, entries) for name, entries in stored]

    def _adopt(self, staging: Path) -> str:
        taken = (int(path.name) for path in staging.parent.iterdir() if path.name.isdecimal())
        name = str(max(taken, default=0) + 1)
        staging.rename(staging.with_name(name))
        return name

    def _publish(self, layers: list[_Layer]) -> None:
        """Make these layers the committed state."""
        count, size = 1, layers[0].entries
        while count < len(layers) and layers[count].entries < _GROWTH * size:
            size += layers[count].entries
            count += 1
        if count > 1:
            merged = self._merged(layers[:count], bottom=count == len(layers))
            layers = [merged, *layers[count:]]
        partial = self.folder / "head.new"
        partial.write_text(json.dumps([(layer.name, layer.entries) for layer in layers]))
        partial.rename(self.folder / "head.json")
        self._remove_unused()

    def _merged(self, layers: list[_Layer], *, bottom: bool) -> _Layer:
        place = self.folder / "layers" / _MERGING
        remove_tree(place)
        place.mkdir()
        merge(tuple(self.folder / "layers" / one.name for one in layers), place, bottom=bottom)
        entries = _count(place)
        return _Layer(self._adopt(place), entries)

    def _remove_unused(self) -> None:
        """Remove what no committed state and no living mount needs."""
        used = {layer.name for layer in self._layers()}
        for mount in (self.folder / "mounts").iterdir():
            if _plane_lives(mount):
                with suppress(FileNotFoundError):
                    used.update(json.loads((mount / "layers.json").read_bytes()))
            else:
                remove_tree(mount)
        for layer in (self.folder / "layers").iterdir():
            if layer.name.startswith(_GONE):
                remove_tree(layer)
            elif layer.name not in used and layer.name.isdecimal():
                # At once for whoever reads it, who will look again.
                remove_tree(layer.rename(layer.with_name(f"{_GONE}{layer.name}")))


def _stands(stack: Stack) -> bool:
    return all(layer.exists() for layer in stack)


def _count(folder: Path) -> int:
    return sum(len(folders) + len(files) for _, folders, files in os.walk(folder))


def _escaped(path: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\:," else letter for letter in path)


def _plane_lives(owned: Path) -> bool:
    """Return whether the plane that this belongs to is still there; its id begins the name."""
    try:
        os.kill(int(owned.name.partition(".")[0]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
