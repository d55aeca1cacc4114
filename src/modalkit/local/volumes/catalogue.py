"""The volumes and buckets of a state folder: by name, by id, and by the containers that use them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from grpclib.const import Status

from ..ids import new_id
from ..processes.launch import Bind
from ..protocol import api, refuse
from ..store.state import Record, Records, remove_tree
from .changes import Change, relative
from .entries import file_entry
from .generations import Generations
from .mounts import VolumeMount
from .stacks import Stack, find, walk

if TYPE_CHECKING:
    from ..containers.container import Container

__all__ = ["Volumes"]

_KIND = "volume"
# The client beats every 300 s while it holds an ephemeral volume.
_SILENCE_LIMIT_S = 1000.0


class Volumes:
    """The volumes and buckets of a state folder.

    Args:
        folder: Holds one folder per volume.
        buckets: Holds one folder per cloud bucket.
        ephemeral: Holds the volumes that end with the plane.
        layered: Whether each container gets a view of its own. Otherwise a volume is one folder,
            and what a container writes there is committed at once.
    """

    def __init__(
        self, folder: Path, buckets: Path, records: Records, ephemeral: Path, *, layered: bool
    ) -> None:
        self._folder = folder
        self._buckets = buckets
        self._records = records
        self._ephemeral_folder = ephemeral
        self._layered = layered
        self._ephemeral: dict[str, api.VolumeMetadata] = {}
        self._beats: dict[str, float] = {}
        self._mounts: dict[tuple[Container, str], VolumeMount] = {}
        for left in folder.iterdir():
            Generations(left).remove_deleted()

    def create(self, name: str, environment: str, version: api.VolumeFsVersion.ValueType) -> Record:
        """Make a named volume."""
        body = api.VolumeMetadata(name=name, version=version or api.VOLUME_FS_VERSION_V1)
        return self._records.put(_KIND, environment, name, new_id("vo"), body.SerializeToString())

    def create_ephemeral(self, version: api.VolumeFsVersion.ValueType) -> str:
        """Make a volume that ends with the plane, or when nobody says for long that it is in use."""
        for volume_id, beat in list(self._beats.items()):
            if time.monotonic() - beat > _SILENCE_LIMIT_S:
                del self._beats[volume_id], self._ephemeral[volume_id]
                remove_tree(self._ephemeral_folder / volume_id)
        volume_id = new_id("vo")
        self._ephemeral[volume_id] = api.VolumeMetadata(version=version or api.VOLUME_FS_VERSION_V1)
        return volume_id

    def beat(self, volume_id: str) -> None:
        """Hear that an ephemeral volume is in use."""
        if volume_id in self._ephemeral:
            self._beats[volume_id] = time.monotonic()

    def find(self, name: str, environment: str) -> Record | None:
        """Return a named volume."""
        return self._records.by_name(_KIND, environment, name)

    def list_all(self, environment: str) -> list[Record]:
        """Return an environment's volumes, newest first."""
        return self._records.list_all(_KIND, environment)

    def metadata(self, volume_id: str) -> api.VolumeMetadata:
        """Describe a volume, or refuse the request when there is none."""
        if volume_id in self._ephemeral:
            return self._ephemeral[volume_id]
        record = self._record(volume_id)
        metadata: api.VolumeMetadata = api.VolumeMetadata.FromString(record.body)
        metadata.name = record.name
        metadata.creation_info.created_at = record.created_at
        metadata.creation_info.created_by = "local"
        return metadata

    def rename(self, volume_id: str, name: str) -> None:
        """Give a volume another name, which must be free."""
        record = self._record(volume_id)
        if self.find(name, record.environment) is not None:
            refuse(Status.ALREADY_EXISTS, f"A volume {name!r} exists already.")
        self._records.rename(volume_id, name)

    async def delete(self, volume_id: str) -> None:
        """Remove a volume; its files go when no container mounts it any more."""
        volume = self._open(volume_id)
        self._records.delete(volume_id)
        self._ephemeral.pop(volume_id, None)
        self._beats.pop(volume_id, None)
        await asyncio.to_thread(volume.delete)

    def bucket(self, name: str, prefix: str) -> Path:
        """Return the folder that stands for a cloud bucket, or a prefix in it."""
        path = self._buckets / relative(name) / relative(prefix)
        path.mkdir(parents=True, exist_ok=True)
        return path

    async def mount(self, container: Container, wanted: api.VolumeMount) -> Bind:
        """Return what a container that is about to start has to mount."""
        volume = self._open(wanted.volume_id)
        if not self._layered:
            path = relative(wanted.sub_path)
            source = await asyncio.to_thread(_plain_folder, volume, path)
            return Bind(source=str(source), target=wanted.mount_path, read_only=wanted.read_only)
        mount = await asyncio.to_thread(
            VolumeMount.open,
            volume,
            wanted.mount_path,
            wanted.sub_path,
            read_only=wanted.read_only,
        )
        self._mounts[container, wanted.volume_id] = mount
        return mount.bind()

    @asynccontextmanager
    async def during(self, wanted: Sequence[api.VolumeMount]) -> AsyncIterator[list[Bind]]:
        """Hold volumes for one command without a container; commit its changes if it succeeds.

        Needs layered volumes, as every command that sees volumes at its own paths does.
        """
        async with AsyncExitStack() as stack:
            mounts: list[VolumeMount] = []
            for one in wanted:
                volume = self._open(one.volume_id)
                mount = await asyncio.to_thread(
                    VolumeMount.open,
                    volume,
                    one.mount_path,
                    one.sub_path,
                    read_only=one.read_only,
                )
                stack.push_async_callback(asyncio.to_thread, mount.close)
                mounts.append(mount)
            yield [mount.bind() for mount in mounts]
            for mount in mounts:
                await asyncio.to_thread(mount.commit_ended)

    async def release(self, container: Container) -> None:
        """Forget what a container mounted, when it has ended."""
        for owner, volume_id in list(self._mounts):
            if owner is container:
                mount = self._mounts.pop((owner, volume_id))
                await asyncio.to_thread(mount.close)

    async def commit(self, container: Container | None, volume_id: str) -> None:
        """Commit what a container changed in a volume."""
        self.metadata(volume_id)
        if self._layered:
            mount, pid = self._mounted(container, volume_id)
            await asyncio.to_thread(mount.commit, pid)

    async def reload(self, container: Container | None, volume_id: str) -> None:
        """Show a container what others committed to a volume."""
        self.metadata(volume_id)
        if self._layered:
            mount, pid = self._mounted(container, volume_id)
            await asyncio.to_thread(mount.reload, pid)

    async def change(self, volume_id: str, work: Callable[[Change], None]) -> None:
        """Commit what ``work`` changes, or nothing if it fails."""
        await asyncio.to_thread(self._change, self._open(volume_id), work)

    def entries(self, volume_id: str, path: str) -> list[api.FileEntry]:
        """List a folder of a volume, or the one file at that path."""
        return self._open(volume_id).read(_listing(path, recursive=False, limit=None))

    async def entries_below(
        self, volume_id: str, path: str, *, recursive: bool, limit: int | None
    ) -> list[api.FileEntry]:
        """List as `entries` does, and at most ``limit`` of them, while others go on."""
        look = _listing(path, recursive=recursive, limit=limit)
        return await asyncio.to_thread(self._open(volume_id).read, look)

    def existing(self, volume_id: str, path: str) -> Path:
        """Return where a path of a volume is on this machine now, or refuse when nothing is there."""
        volume = self._open(volume_id)
        return volume.read(lambda stack: _there(stack, path) or (volume.folder / "empty",))[0]

    def file(self, volume_id: str, path: str) -> Path:
        """Return a committed file, to be read within the hour whatever is committed meanwhile."""
        volume = self._open(volume_id)

        def look(stack: Stack) -> Path:
            found = _there(stack, path)
            if not found or found[0].is_dir():
                refuse(Status.INVALID_ARGUMENT, f"{path!r} is a directory.")
            file = found[0].resolve()
            if not file.is_relative_to(volume.folder.resolve()):
                refuse(Status.INVALID_ARGUMENT, f"{path!r} is a link out of the volume.")
            return volume.pin(file)

        return volume.read(look)

    def _record(self, volume_id: str) -> Record:
        record = self._records.by_id(volume_id)
        if record is None or record.kind != _KIND:
            refuse(Status.NOT_FOUND, f"There is no volume {volume_id!r} in this local Modal.")
        return record

    def _open(self, volume_id: str) -> Generations:
        self.metadata(volume_id)
        home = self._ephemeral_folder if volume_id in self._ephemeral else self._folder
        volume = Generations(home / volume_id)
        volume.create()
        return volume

    def _mounted(self, container: Container | None, volume_id: str) -> tuple[VolumeMount, int]:
        mount = self._mounts.get((container, volume_id)) if container is not None else None
        if container is None or mount is None or container.namespace_pid is None:
            refuse(
                Status.FAILED_PRECONDITION,
                "A volume is committed and reloaded by a container that mounts it. Elsewhere what "
                "you read is the committed state, and every change commits itself.",
            )
        return mount, container.namespace_pid

    def _change(self, volume: Generations, work: Callable[[Change], None]) -> None:
        try:
            with volume.locked():
                if self._layered:
                    with volume.new_layer() as layer:
                        work(Change(volume.stack(), layer, layered=True))
                else:
                    folder = volume.flatten()
                    work(Change((folder,), folder, layered=False))
        except OSError as error:
            refuse(
                Status.FAILED_PRECONDITION,
                f"The volume could not be changed: {error.strerror}. It is as it was before.",
            )


def _there(stack: Stack, path: str) -> Stack:
    """Return where a path is; refuse one at which nothing is, but for an empty volume itself."""
    found = find(stack, relative(path))
    if not found and relative(path):
        refuse(Status.NOT_FOUND, f"No such file or directory: {path!r}")
    return found


def _listing(
    path: str, *, recursive: bool, limit: int | None
) -> Callable[[Stack], list[api.FileEntry]]:
    """Return what lists a folder of a volume, or the one file at that path."""
    name = relative(path)

    def look(stack: Stack) -> list[api.FileEntry]:
        found = _there(stack, path)
        if not found or (found[0].is_dir() and not found[0].is_symlink()):
            below = walk(found, name, recursive=recursive)
            return [file_entry(*one) for one in islice(below, limit)]
        return [file_entry(name, found[0])]

    return look


def _plain_folder(volume: Generations, path: str) -> Path:
    with volume.locked():
        folder = volume.flatten() / path
        folder.mkdir(parents=True, exist_ok=True)
        return folder
