"""RPCs about large payloads, which travel over plain HTTP (`store/blobs.py`)."""

from __future__ import annotations

from dataclasses import dataclass

from grpclib.const import Status

from ..ids import new_id
from ..protocol import api, refuse
from ..store.blobs import Blobs
from ..wire.grpc_server import Caller, rpc

__all__ = ["BlobRpcs"]


@dataclass
class BlobRpcs:
    """Names blobs and says where they are."""

    blobs: Blobs

    @rpc("BlobCreate")
    async def create(
        self, _request: api.BlobCreateRequest, _caller: Caller
    ) -> api.BlobCreateResponse:
        """Name a blob and say where to upload it."""
        blob_id = new_id("bl")
        url = self.blobs.link(blob_id)
        return api.BlobCreateResponse(
            blob_id=blob_id,
            upload_url=url,
            blob_ids=[blob_id],
            upload_urls=api.UploadUrlList(items=[url]),
        )

    @rpc("BlobGet")
    async def get(self, request: api.BlobGetRequest, _caller: Caller) -> api.BlobGetResponse:
        """Say where to download a blob."""
        if not self.blobs.path(request.blob_id).exists():
            refuse(Status.NOT_FOUND, f"There is no blob {request.blob_id!r} in this local Modal.")
        return api.BlobGetResponse(download_url=self.blobs.link(request.blob_id))
