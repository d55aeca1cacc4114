"""Volume RPCs: folders on this machine behind Modal's volume API, versions 1 and 2 alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from grpclib.const import Status

from ..protocol import Empty, api, refuse
from ..store.files import FileStore
from ..store.state import Record
from ..volumes import Volumes
from ..volumes.changes import Change
from ..wire.grpc_server import Caller, rpc, stream_rpc

__all__ = ["VolumeRpcs"]

_BLOCK = 8 * 1024 * 1024
_LISTED_AT_ONCE = 500
_PLAIN_MODE = 0o644


class VolumeRpcs:
    """Volumes by name and id, and the files in them.

    Args:
        download_url: Returns a URL for a range of a file.
        upload_url: Returns a URL to upload a block with this SHA-256 to.
    """

    def __init__(
        self,
        volumes: Volumes,
        files: FileStore,
        download_url: Callable[[Path, int, int], str],
        upload_url: Callable[[str], str],
    ) -> None:
        self._volumes = volumes
        self._files = files
        self._download_url = download_url
        self._upload_url = upload_url

    @rpc("VolumeGetOrCreate")
    async def get_or_create(
        self, request: api.VolumeGetOrCreateRequest, _caller: Caller
    ) -> api.VolumeGetOrCreateResponse:
        """Make a volume, or look one up by name."""
        kind, name = request.object_creation_type, request.deployment_name
        if kind in {
            api.OBJECT_CREATION_TYPE_EPHEMERAL,
            api.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP,
        }:
            return self._described(self._volumes.create_ephemeral(request.version))
        environment = request.environment_name or "main"
        record = self._volumes.find(name, environment)
        if record is not None and kind == api.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            refuse(Status.ALREADY_EXISTS, f"A volume {name!r} exists already.")
        if record is None and kind == api.OBJECT_CREATION_TYPE_UNSPECIFIED:
            refuse(
                Status.NOT_FOUND,
                f"There is no volume {name!r} in this local Modal. Use "
                f"Volume.from_name({name!r}, create_if_missing=True) or `modal volume create {name}`.",
            )
        if record is None:
            record = self._volumes.create(name, environment, request.version)
        return self._described(record.id)

    @rpc("VolumeGetById")
    async def get_by_id(
        self, request: api.VolumeGetByIdRequest, _caller: Caller
    ) -> api.VolumeGetByIdResponse:
        """Describe a volume."""
        metadata = self._volumes.metadata(request.volume_id)
        return api.VolumeGetByIdResponse(volume_id=request.volume_id, metadata=metadata)

    @rpc("VolumeList")
    async def list_all(
        self, request: api.VolumeListRequest, _caller: Caller
    ) -> api.VolumeListResponse:
        """List an environment's volumes."""
        environment = request.environment_name or "main"
        before = request.pagination.created_before
        items = [
            self._item(record)
            for record in self._volumes.list_all(environment)
            if not before or record.created_at < before
        ]
        return api.VolumeListResponse(items=items, environment_name=environment)

    @rpc("VolumeHeartbeat")
    async def heartbeat(self, request: api.VolumeHeartbeatRequest, _caller: Caller) -> Empty:
        """An ephemeral volume is in use."""
        self._volumes.beat(request.volume_id)
        return Empty()

    @rpc("VolumeCommit")
    async def commit(
        self, request: api.VolumeCommitRequest, caller: Caller
    ) -> api.VolumeCommitResponse:
        """Commit what a container changed; it sees the committed state afterwards if it can."""
        await self._volumes.commit(caller.container, request.volume_id)
        return api.VolumeCommitResponse(skip_reload=True)

    @rpc("VolumeReload")
    async def reload(self, request: api.VolumeReloadRequest, caller: Caller) -> Empty:
        """Show a container the committed state."""
        await self._volumes.reload(caller.container, request.volume_id)
        return Empty()

    @rpc("VolumeRename")
    async def rename(self, request: api.VolumeRenameRequest, _caller: Caller) -> Empty:
        """Give a volume another name."""
        self._volumes.rename(request.volume_id, request.name)
        return Empty()

    @rpc("VolumeDelete")
    async def delete(self, request: api.VolumeDeleteRequest, _caller: Caller) -> Empty:
        """Remove a volume and its files."""
        await self._volumes.delete(request.volume_id)
        return Empty()

    @stream_rpc("VolumeListFiles")
    async def list_files(
        self, request: api.VolumeListFilesRequest, _caller: Caller
    ) -> AsyncIterator[api.VolumeListFilesResponse]:
        """List a folder of a volume."""
        for batch in await self._batches(request):
            yield api.VolumeListFilesResponse(entries=batch)

    @stream_rpc("VolumeListFiles2")
    async def list_files2(
        self, request: api.VolumeListFiles2Request, _caller: Caller
    ) -> AsyncIterator[api.VolumeListFiles2Response]:
        """List a folder of a volume."""
        for batch in await self._batches(request):
            yield api.VolumeListFiles2Response(entries=batch)

    @rpc("VolumeGetFile2")
    async def get_file(
        self, request: api.VolumeGetFile2Request, _caller: Caller
    ) -> api.VolumeGetFile2Response:
        """Return URLs for a file's blocks."""
        path = self._volumes.file(request.volume_id, request.path)
        size = path.stat().st_size
        end = min(size, request.start + request.len) if request.len else size
        first = request.start // _BLOCK
        urls, position = [], request.start
        while position < end:
            first += 1
            stop = min(end, first * _BLOCK)
            urls.append(self._download_url(path, position, stop))
            position = stop
        return api.VolumeGetFile2Response(
            get_urls=urls, size=size, start=request.start, len=max(0, end - request.start)
        )

    @rpc("VolumePutFiles")
    async def put_files(self, request: api.VolumePutFilesRequest, _caller: Caller) -> Empty:
        """Commit uploaded files (version 1)."""

        def put(change: Change) -> None:
            for entry in request.files:
                overwrite = not request.disallow_overwrite_existing_files
                target = change.target(entry.filename, overwrite=overwrite)
                self._files.place(entry, target, shared=False)

        await self._volumes.change(request.volume_id, put)
        return Empty()

    @rpc("VolumePutFiles2")
    async def put_files2(
        self, request: api.VolumePutFiles2Request, _caller: Caller
    ) -> api.VolumePutFiles2Response:
        """Commit files once all their blocks were uploaded; until then, say which are missing."""
        response = api.VolumePutFiles2Response()
        for file_index, entry in enumerate(request.files):
            for block_index, block in enumerate(entry.blocks):
                sha = block.contents_sha256.hex()
                if not self._files.has(sha):
                    response.missing_blocks.add(
                        file_index=file_index,
                        block_index=block_index,
                        put_url=self._upload_url(sha),
                    )

        def put(change: Change) -> None:
            for entry in request.files:
                overwrite = not request.disallow_overwrite_existing_files
                self._assemble(entry, change.target(entry.path, overwrite=overwrite))

        if not response.missing_blocks:
            await self._volumes.change(request.volume_id, put)
        return response

    @rpc("VolumeRemoveFile")
    async def remove_file(self, request: api.VolumeRemoveFileRequest, _caller: Caller) -> Empty:
        """Remove a file or folder (version 1)."""
        return await self._remove(request.volume_id, request.path, request.recursive)

    @rpc("VolumeRemoveFile2")
    async def remove_file2(self, request: api.VolumeRemoveFile2Request, _caller: Caller) -> Empty:
        """Remove a file or folder (version 2)."""
        return await self._remove(request.volume_id, request.path, request.recursive)

    @rpc("VolumeCopyFiles")
    async def copy_files(self, request: api.VolumeCopyFilesRequest, _caller: Caller) -> Empty:
        """Copy within a volume (version 1)."""
        return await self._copy(request)

    @rpc("VolumeCopyFiles2")
    async def copy_files2(self, request: api.VolumeCopyFiles2Request, _caller: Caller) -> Empty:
        """Copy within a volume (version 2)."""
        return await self._copy(request)

    async def _remove(self, volume_id: str, path: str, recursive: bool) -> Empty:
        await self._volumes.change(
            volume_id, lambda change: change.remove(path, recursive=recursive)
        )
        return Empty()

    async def _copy(
        self, request: api.VolumeCopyFilesRequest | api.VolumeCopyFiles2Request
    ) -> Empty:
        sources, target = [*request.src_paths], request.dst_path
        await self._volumes.change(
            request.volume_id,
            lambda change: change.copy(sources, target, recursive=request.recursive),
        )
        return Empty()

    def _described(self, volume_id: str) -> api.VolumeGetOrCreateResponse:
        metadata = self._volumes.metadata(volume_id)
        return api.VolumeGetOrCreateResponse(
            volume_id=volume_id, version=metadata.version, metadata=metadata
        )

    def _item(self, record: Record) -> api.VolumeListItem:
        return api.VolumeListItem(
            label=record.name,
            volume_id=record.id,
            created_at=record.created_at,
            metadata=self._volumes.metadata(record.id),
        )

    async def _batches(
        self, request: api.VolumeListFilesRequest | api.VolumeListFiles2Request
    ) -> list[list[api.FileEntry]]:
        entries = await self._volumes.entries_below(
            request.volume_id,
            request.path,
            recursive=request.recursive,
            limit=request.max_entries if request.HasField("max_entries") else None,
        )
        starts = range(0, len(entries), _LISTED_AT_ONCE)
        return [entries[start : start + _LISTED_AT_ONCE] for start in starts]

    def _assemble(self, entry: api.VolumePutFiles2Request.File, target: Path) -> None:
        """Write a file from its blocks; the zeros at a block's end were not sent."""
        with target.open("wb") as out:
            for index, block in enumerate(entry.blocks):
                out.seek(index * _BLOCK)
                out.write(self._files.path(block.contents_sha256.hex()).read_bytes())
            out.truncate(entry.size)
        target.chmod(entry.mode & 0o777 or _PLAIN_MODE)
