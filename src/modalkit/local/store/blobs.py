"""Large payloads: uploaded and downloaded over plain HTTP, as the client does with S3."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from .files import FileStore
from .links import Links

__all__ = ["Blobs"]

_CHUNK = 1024 * 1024
# How long a blob that nobody needs any more stays: until a download that began has ended, or, if
# none did, for as long as a client might still come for it.
_AFTER_READ_S, _UNREAD_S = 30.0, 600.0


class Blobs:
    """Blobs of one plane and links into volumes; every link is unguessable.

    Args:
        folder: Holds blobs until the plane ends.
        files: Takes uploaded volume blocks.
        clock: Tells the time in seconds, by which links into volumes expire.
    """

    def __init__(
        self, folder: Path, files: FileStore, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.base_url = ""
        self._folder = folder
        self._files = files
        self._ranges = Links[tuple[Path, int, int]](clock)
        self._blocks = Links[str](clock)
        self._kept: set[Path] = set()
        self._read: set[str] = set()
        self._leaving: dict[str, asyncio.TimerHandle] = {}

    def link(self, blob_id: str) -> str:
        """Return a link to upload a blob to, and to download it from."""
        return f"{self.base_url}/blob/{blob_id}"

    def path(self, blob_id: str) -> Path:
        """Return where a blob's bytes are."""
        name = Path(blob_id).name
        path = self._folder / name
        if not path.exists():
            return next((kept / name for kept in self._kept if (kept / name).exists()), path)
        return path

    def keep_in(self, folder: Path) -> None:
        """Find blobs in this folder too, where `keep` puts them."""
        self._kept.add(folder)

    def keep(self, blob_id: str, folder: Path) -> None:
        """Move a blob to where it outlives the plane."""
        source = self._folder / Path(blob_id).name
        if source.exists():
            source.rename(folder / source.name)

    def remove(self, blob_id: str) -> None:
        """Remove a blob; removing one that is not there is fine."""
        (self._folder / Path(blob_id).name).unlink(missing_ok=True)
        self._read.discard(blob_id)
        self._leaving.pop(blob_id, None)

    def remove_when_read(self, blob_id: str) -> None:
        """Remove a blob half a minute after it was read, or after ten minutes."""
        delay = _AFTER_READ_S if blob_id in self._read else _UNREAD_S
        timer = asyncio.get_running_loop().call_later(delay, self.remove, blob_id)
        self._leaving[blob_id] = timer

    def _was_read(self, blob_id: str) -> None:
        if (self._folder / blob_id).exists():
            self._read.add(blob_id)
        if (timer := self._leaving.pop(blob_id, None)) is not None:
            timer.cancel()
            self.remove_when_read(blob_id)

    def download_url(self, path: Path, start: int, end: int) -> str:
        """Return a link to bytes ``start`` to ``end`` of a file, good once within an hour."""
        return f"{self.base_url}/range/{self._ranges.make((path, start, end))}"

    def upload_url(self, sha256: str) -> str:
        """Return a link to upload a block to within an hour, which must have that SHA-256."""
        return f"{self.base_url}/block/{self._blocks.make(sha256)}"

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        _, kind, name, *_ = [*request.path.split("/"), "", ""]
        match request.method, kind:
            case "PUT", "blob":
                return await self._take_blob(request, self.path(name))
            case "GET", "blob" if self.path(name).exists():
                path = self.path(name)
                response = await _send(request, path, 0, path.stat().st_size)
                self._was_read(name)
                return response
            case "GET", "range" if (part := self._ranges.take(name)) is not None:
                return await _send(request, *part)
            case "PUT", "block" if (sha256 := self._blocks.get(name)) is not None:
                return await self._take_block(request, sha256)
        return web.Response(status=404, text="There is nothing here.")

    async def _take_blob(self, request: web.BaseRequest, path: Path) -> web.Response:
        md5 = hashlib.md5(usedforsecurity=False)
        with path.open("wb") as out:
            async for data in request.content.iter_chunked(_CHUNK):
                md5.update(data)
                out.write(data)
        return web.Response(headers={"ETag": f'"{md5.hexdigest()}"'})

    async def _take_block(self, request: web.BaseRequest, sha256: str) -> web.Response:
        data = await request.content.read()
        if hashlib.sha256(data).hexdigest() != sha256:
            return web.Response(status=400, text="The block's SHA-256 is not the announced one.")
        self._files.put(sha256, data)
        return web.Response(body=sha256.encode())


async def _send(request: web.BaseRequest, path: Path, start: int, end: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(end - start)})
    await response.prepare(request)
    with path.open("rb") as source:
        os.lseek(source.fileno(), start, os.SEEK_SET)
        position = start
        while position < end and (data := source.read(min(_CHUNK, end - position))):
            with contextlib.suppress(ConnectionResetError):
                await response.write(data)
            position += len(data)
    await response.write_eof()
    return response
