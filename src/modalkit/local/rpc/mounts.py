"""Mounts: the files that the client uploads for its functions and images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..files import FileStore
from ..ids import content_id
from ..protocol import api
from ..server import Caller, rpc
from ..state import Records

__all__ = ["Mounts"]

_KIND = "mount"


class Mounts:
    """Sets of files with their paths, by content.

    Args:
        take_blob: Returns where an uploaded blob's bytes are.
    """

    def __init__(
        self, records: Records, files: FileStore, take_blob: Callable[[str], Path]
    ) -> None:
        self._records = records
        self._files = files
        self._take_blob = take_blob

    def files(self, mount_id: str) -> list[api.MountFile]:
        """Return a mount's files; a mount made elsewhere (Modal's own client) has none here."""
        record = self._records.by_id(mount_id)
        if record is None:
            return []
        return list(api.MountGetOrCreateRequest.FromString(record.body).files)

    def name(self, mount_id: str) -> str:
        """Return the name a mount was published under; empty for one without."""
        record = self._records.by_id(mount_id) if mount_id else None
        if record is None:
            return ""
        return str(api.MountGetOrCreateRequest.FromString(record.body).deployment_name)

    @rpc("MountBatchedCheckExistence")
    async def check(
        self, request: api.MountBatchedCheckExistenceRequest, _caller: Caller
    ) -> api.MountBatchedCheckExistenceResponse:
        """Say which files are not here yet."""
        missing = [sha for sha in request.sha256_hex_hashes if not self._files.has(sha)]
        return api.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    @rpc("MountPutFile")
    async def put_file(
        self, request: api.MountPutFileRequest, _caller: Caller
    ) -> api.MountPutFileResponse:
        """Keep a file; a request without data only asks whether it is here."""
        kind = request.WhichOneof("data_oneof")
        if kind == "data":
            self._files.put(request.sha256_hex, request.data)
        elif kind == "data_blob_id":
            self._files.adopt(request.sha256_hex, self._take_blob(request.data_blob_id))
        return api.MountPutFileResponse(exists=self._files.has(request.sha256_hex))

    @rpc("MountGetOrCreate")
    async def get_or_create(
        self, request: api.MountGetOrCreateRequest, _caller: Caller
    ) -> api.MountGetOrCreateResponse:
        """Make a mount of files that are here; Modal's own named mounts are empty here."""
        kept = api.MountGetOrCreateRequest(
            files=sorted(request.files, key=lambda entry: entry.filename),
            deployment_name=request.deployment_name,
        )
        body = kept.SerializeToString(deterministic=True)
        mount_id = content_id("mo", body)
        if self._records.by_id(mount_id) is None:
            self._records.put(_KIND, "", mount_id, mount_id, body)
        handle = api.MountHandleMetadata(content_checksum_sha256_hex=mount_id)
        return api.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=handle)
