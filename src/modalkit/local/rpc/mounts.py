"""Mounts: the files that the client uploads for its functions and images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..protocol import api
from ..store.files import FileStore
from ..store.mounts import Mounts
from ..wire.grpc_server import Caller, rpc

__all__ = ["MountRpcs"]


@dataclass
class MountRpcs:
    """Takes files, and sets of them.

    Args:
        take_blob: Returns where an uploaded blob's bytes are.
    """

    mounts: Mounts
    files: FileStore
    take_blob: Callable[[str], Path]

    @rpc("MountBatchedCheckExistence")
    async def check(
        self, request: api.MountBatchedCheckExistenceRequest, _caller: Caller
    ) -> api.MountBatchedCheckExistenceResponse:
        """Say which files are not here yet."""
        missing = [sha for sha in request.sha256_hex_hashes if not self.files.has(sha)]
        return api.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    @rpc("MountPutFile")
    async def put_file(
        self, request: api.MountPutFileRequest, _caller: Caller
    ) -> api.MountPutFileResponse:
        """Keep a file; a request without data only asks whether it is here."""
        kind = request.WhichOneof("data_oneof")
        if kind == "data":
            self.files.put(request.sha256_hex, request.data)
        elif kind == "data_blob_id":
            self.files.adopt(request.sha256_hex, self.take_blob(request.data_blob_id))
        return api.MountPutFileResponse(exists=self.files.has(request.sha256_hex))

    @rpc("MountGetOrCreate")
    async def get_or_create(
        self, request: api.MountGetOrCreateRequest, _caller: Caller
    ) -> api.MountGetOrCreateResponse:
        """Make a mount of files that are here; Modal's own named mounts are empty here."""
        mount_id = self.mounts.keep(list(request.files), request.deployment_name)
        handle = api.MountHandleMetadata(content_checksum_sha256_hex=mount_id)
        return api.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=handle)
