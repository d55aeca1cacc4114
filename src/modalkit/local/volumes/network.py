"""Network file systems: one folder each, which its containers share and clients change at once.

Modal has deprecated them in favour of volumes; programs that still declare one find it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from grpclib.const import Status

from ..processes.launch import Bind
from ..protocol import api, refuse
from ..store.named import Kind, NamedRequest, Shelf
from ..store.places import Folder
from ..store.state import Record, State, remove_tree
from .changes import copied, relative
from .entries import file_entry

__all__ = ["NetworkFileSystems"]

_KIND = Kind("network file system", "NetworkFileSystem", "sv", "nfs")
# The client turns this answer into an error that says what the name belongs to.
_IS_A_VOLUME = "App has wrong entity vo"


class NetworkFileSystems:
    """The network file systems of a state folder."""

    def __init__(self, state: State) -> None:
        self._records = state.records
        self._shelf = Shelf(_KIND, state.records, state.ephemeral)
        self._named = state.place(Folder.NETWORK)
        self._run = state.run
        self._passing = state.run / "network"

    def get_or_create(self, request: NamedRequest) -> str:
        """Return the id of the one that a request asks for."""
        name, environment = request.deployment_name, request.environment_name
        must_exist = request.object_creation_type == api.OBJECT_CREATION_TYPE_UNSPECIFIED
        found = self._records.by_name(_KIND.record, environment, name)
        if must_exist and not found and self._records.by_name("volume", environment, name):
            refuse(Status.NOT_FOUND, _IS_A_VOLUME)
        record, new = self._shelf.get_or_create(request)
        if new:
            self._remove_silent()
        return record.id

    def beat(self, identity: str) -> None:
        """Hear that an ephemeral one is in use."""
        self._shelf.beat(identity)

    def list_all(self, environment: str) -> list[Record]:
        """Return an environment's named ones, newest first."""
        return self._shelf.list_named(environment, api.ListPagination())

    async def delete(self, identity: str) -> None:
        """Remove one with its files."""
        folder = self._folder(identity)
        self._shelf.delete(identity)
        await asyncio.to_thread(remove_tree, folder)

    def bind(self, mount: api.SharedVolumeMount) -> Bind:
        """Return what a container that is about to start has to mount."""
        folder = self._folder(mount.shared_volume_id)
        return Bind(source=str(folder), target=mount.mount_path, read_only=False)

    def entries(self, identity: str, path: str) -> list[api.FileEntry]:
        """List a folder, with names; one file, or what a pattern with ``*`` matches, with paths."""
        if "*" in path:
            return self._matching(identity, path)
        place = self._existing(identity, path)
        if place.is_dir() and not place.is_symlink():
            return [file_entry(one.name, one) for one in sorted(place.iterdir())]
        return [file_entry(relative(path), place)]

    def _matching(self, identity: str, path: str) -> list[api.FileEntry]:
        """List what a pattern matches; nothing that a link leads out to."""
        folder, pattern = self._folder(identity), relative(path)
        parts = pattern.split("/")
        if any("**" in part and part != "**" for part in parts):
            msg = f"{path!r} is no pattern: two stars stand for folders, alone between slashes."
            refuse(Status.INVALID_ARGUMENT, msg)
        named = takewhile(lambda part: "*" not in part, parts)
        self._refuse_outside(identity, path, folder.joinpath(*named))
        # Two stars alone match folders only.
        found = folder.glob(f"{pattern}/*" if pattern.endswith("**") else pattern)
        inside = [one for one in sorted(found) if _is_inside(folder, one.parent)]
        return [file_entry(str(one.relative_to(folder)), one) for one in inside]

    def file(self, identity: str, path: str) -> Path:
        """Return where a file is, or refuse."""
        place = self._existing(identity, path)
        self._refuse_outside(identity, path, place)
        if place.is_dir():
            refuse(Status.INVALID_ARGUMENT, f"{path!r} is a directory.")
        return place

    async def write(self, identity: str, path: str, content: Path | bytes) -> None:
        """Write a file, whole or not at all, with the folders that it lies in."""
        place = self._place(identity, path)
        if place.is_dir():
            refuse(Status.ALREADY_EXISTS, f"{path!r} is a directory.")
        partial = self._run / f"network-{secrets.token_hex(4)}"
        with _changing(path):
            await asyncio.to_thread(_write, place, content, partial)

    def remove(self, identity: str, path: str, *, recursive: bool) -> None:
        """Remove a file, or with ``recursive`` a folder."""
        place = self._existing(identity, path)
        if not place.is_dir() or place.is_symlink():
            with _changing(path):
                place.unlink()
        elif not recursive:
            refuse(
                Status.INVALID_ARGUMENT, f"{path!r} is a directory; pass recursive to remove it."
            )
        else:
            remove_tree(place)

    def _remove_silent(self) -> None:
        """Remove the files of ephemeral ones whose client went away without a word."""
        for folder in self._passing.glob("*"):
            if self._shelf.home(folder.name) is self._records:
                remove_tree(folder)

    def _folder(self, identity: str) -> Path:
        """Return where the files of one are, or refuse when there is no such one."""
        self._shelf.find(identity)
        named = self._shelf.home(identity) is self._records
        folder = (self._named if named else self._passing) / identity
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _place(self, identity: str, path: str) -> Path:
        """Return where a path is, or would be; links on the way may not lead out."""
        place = self._folder(identity) / relative(path)
        if relative(path):
            self._refuse_outside(identity, path, place.parent)
        return place

    def _existing(self, identity: str, path: str) -> Path:
        place = self._place(identity, path)
        if not os.path.lexists(place):
            refuse(Status.NOT_FOUND, f"No such file or directory: {path!r}")
        return place

    def _refuse_outside(self, identity: str, path: str, place: Path) -> None:
        if not _is_inside(self._folder(identity), place):
            refuse(Status.INVALID_ARGUMENT, f"{path!r} is a link out of the network file system.")


def _is_inside(folder: Path, place: Path) -> bool:
    return place.resolve().is_relative_to(folder.resolve())


def _write(place: Path, content: Path | bytes, partial: Path) -> None:
    try:
        if isinstance(content, bytes):
            partial.write_bytes(content)
        else:
            copied(content, partial)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _changing(path: str) -> Iterator[None]:
    """A full disk, for one, becomes an error that names the file."""
    try:
        yield
    except OSError as error:
        refuse(Status.FAILED_PRECONDITION, f"{path!r} could not be changed: {error.strerror}.")
