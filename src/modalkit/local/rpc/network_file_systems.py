"""RPCs of network file systems, which the protocol calls shared volumes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ..ids import new_id
from ..protocol import Empty, api
from ..store.blobs import Blobs
from ..volumes.changes import copied
from ..volumes.network import NetworkFileSystems
from ..wire.grpc_server import Caller, rpc, stream_rpc

__all__ = ["NetworkFileSystemRpcs"]

_IN_A_MESSAGE = 4 * 1024 * 1024
_LISTED_AT_ONCE = 500


class NetworkFileSystemRpcs:
    """Network file systems by name and id, and the files in them."""

    def __init__(self, systems: NetworkFileSystems, blobs: Blobs) -> None:
        self._systems = systems
        self._blobs = blobs

    @rpc("SharedVolumeGetOrCreate")
    async def get_or_create(
        self, request: api.SharedVolumeGetOrCreateRequest, _caller: Caller
    ) -> api.SharedVolumeGetOrCreateResponse:
        """Make one, or look one up by name."""
        identity = self._systems.get_or_create(request)
        return api.SharedVolumeGetOrCreateResponse(shared_volume_id=identity)

    @rpc("SharedVolumeHeartbeat")
    async def heartbeat(self, request: api.SharedVolumeHeartbeatRequest, _caller: Caller) -> Empty:
        """An ephemeral one is in use."""
        self._systems.beat(request.shared_volume_id)
        return Empty()

    @rpc("SharedVolumeList")
    async def list_all(
        self, request: api.SharedVolumeListRequest, _caller: Caller
    ) -> api.SharedVolumeListResponse:
        """List an environment's named ones."""
        items = [
            api.SharedVolumeListItem(
                label=record.name, shared_volume_id=record.id, created_at=record.created_at
            )
            for record in self._systems.list_all(request.environment_name)
        ]
        return api.SharedVolumeListResponse(items=items, environment_name=request.environment_name)

    @rpc("SharedVolumeDelete")
    async def delete(self, request: api.SharedVolumeDeleteRequest, _caller: Caller) -> Empty:
        """Remove one with its files."""
        await self._systems.delete(request.shared_volume_id)
        return Empty()

    @stream_rpc("SharedVolumeListFilesStream")
    async def list_files(
        self, request: api.SharedVolumeListFilesRequest, _caller: Caller
    ) -> AsyncIterator[api.SharedVolumeListFilesResponse]:
        """List a folder, a file, or what a pattern matches."""
        entries = self._systems.entries(request.shared_volume_id, request.path)
        for start in range(0, len(entries), _LISTED_AT_ONCE):
            yield api.SharedVolumeListFilesResponse(
                entries=entries[start : start + _LISTED_AT_ONCE]
            )

    @rpc("SharedVolumePutFile")
    async def put_file(
        self, request: api.SharedVolumePutFileRequest, _caller: Caller
    ) -> api.SharedVolumePutFileResponse:
        """Write a file, from the message or from an uploaded blob."""
        blob = request.data_blob_id
        content = self._blobs.path(blob) if blob else request.data
        await self._systems.write(request.shared_volume_id, request.path, content)
        if blob:  # not at once: a client that missed the answer asks again
            self._blobs.remove_when_read(blob)
        return api.SharedVolumePutFileResponse(exists=True)

    @rpc("SharedVolumeGetFile")
    async def get_file(
        self, request: api.SharedVolumeGetFileRequest, _caller: Caller
    ) -> api.SharedVolumeGetFileResponse:
        """Return a file's bytes, or a blob that has them."""
        file = self._systems.file(request.shared_volume_id, request.path)
        if file.stat().st_size <= _IN_A_MESSAGE:
            return api.SharedVolumeGetFileResponse(data=file.read_bytes())
        blob = new_id("bl")
        await asyncio.to_thread(copied, file, self._blobs.path(blob))
        self._blobs.remove_when_read(blob)
        return api.SharedVolumeGetFileResponse(data_blob_id=blob)

    @rpc("SharedVolumeRemoveFile")
    async def remove_file(
        self, request: api.SharedVolumeRemoveFileRequest, _caller: Caller
    ) -> Empty:
        """Remove a file, or a folder if asked to."""
        self._systems.remove(request.shared_volume_id, request.path, recursive=request.recursive)
        return Empty()
