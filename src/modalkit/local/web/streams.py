"""The two directions of a web request's function call: ASGI messages in, ASGI messages out.

They take the places of a call's ordinary streams. Nothing is kept longer than it must be: a
response's message is on the client's connection before the container's RPC is answered, which is
also what makes a container wait for a slow client.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path

from typing_extensions import override

from ..calls.chunks import ChunkStream
from ..protocol import api
from ..wire.exchange import Exchange
from ..wire.http1 import HttpError

__all__ = ["RequestStream", "ResponseStream"]

_UNREAD_LIMIT = 4 * 1024 * 1024
_HELD_LIMIT = 16 * 1024 * 1024
# A container sends what its app has made when its last message was acknowledged, so each acknowledgement
# costs it an RPC. An app that makes messages faster than this is a rush: its acknowledgements come this
# far apart, and what it makes meanwhile comes together. A slower stream is never held up.
_RUSH_S = 0.004


class RequestStream(ChunkStream):
    """What the client sends, for the container to read.

    A body of one message is kept, so that another container can begin again if the first is lost.
    """

    def __init__(self) -> None:
        super().__init__(bounded=True)
        self._messages: deque[api.DataChunk] = deque()
        self._count = 0
        self._size = 0
        self._over = False
        self._news: set[asyncio.Future[None]] = set()

    def add(self, message: api.Asgi) -> None:
        """Append a message."""
        self._count += 1
        data = message.SerializeToString()
        self._messages.append(
            api.DataChunk(index=self._count, data_format=api.DATA_FORMAT_ASGI, data=data)
        )
        self._size += len(data)
        self._tell()

    async def room(self) -> None:
        """Wait while the container has much left to read."""
        while self._size > _UNREAD_LIMIT and not self._over:
            await self._change()

    @override
    def take(self, chunks: Iterable[api.DataChunk]) -> None:
        for chunk in chunks:
            self.add(api.Asgi.FromString(chunk.data))

    @override
    def close(self) -> None:
        self._over = True
        self._tell()

    @override
    async def read(
        self, after: int = 0, *, until_closed: bool = False
    ) -> AsyncGenerator[api.DataChunk, None]:
        while True:
            for chunk in [one for one in self._messages if one.index > after]:
                yield chunk
                after = chunk.index
                self._forget(chunk)
            if self._over and until_closed:
                return
            if self._count <= after:
                await self._change()

    def _forget(self, chunk: api.DataChunk) -> None:
        while self._count > 1 and self._messages and self._messages[0].index <= chunk.index:
            was_full = self._size > _UNREAD_LIMIT
            self._size -= len(self._messages.popleft().data)
            if was_full:
                self._tell()

    async def _change(self) -> None:
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._news.add(news)
        try:
            await news
        finally:
            self._news.discard(news)

    def _tell(self) -> None:
        for news in self._news:
            if not news.done():
                news.set_result(None)


class ResponseStream(ChunkStream):
    """What the app sends, written to whoever waits for it.

    Args:
        blob: Returns where a large message's bytes are.
        headers: Added to the response.
    """

    def __init__(self, blob: Callable[[str], Path], headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(bounded=True)
        self.began = False
        self._blob = blob
        self._own_headers = headers
        self._exchange: Exchange | None = None
        self._messages: deque[api.Asgi] = deque()
        self._held = 0
        self._over = False
        self._ended = False
        self._attached = asyncio.Event()
        self._acknowledged_at = -math.inf

    def attach(self, exchange: Exchange | None) -> None:
        """Write to this exchange from now on; without one, hold the messages back."""
        self._exchange = exchange
        if exchange is not None:
            self._deliver(exchange)
            self._attached.set()
        else:
            self._attached.clear()

    @override
    def take(self, chunks: Iterable[api.DataChunk]) -> Awaitable[None] | None:
        chunks = list(chunks)
        if any(chunk.data_blob_id for chunk in chunks):
            return self._take_blobs(chunks)
        for chunk in chunks:
            self._keep(chunk.data)
        return self._pass_on()

    async def _take_blobs(self, chunks: list[api.DataChunk]) -> None:
        for chunk in chunks:
            self._keep(
                await self._fetched(chunk.data_blob_id) if chunk.data_blob_id else chunk.data
            )
        if (delay := self._pass_on()) is not None:
            await delay

    def _keep(self, data: bytes) -> None:
        self._messages.append(api.Asgi.FromString(data))
        self._held += len(data)

    def _pass_on(self) -> Awaitable[None] | None:
        """Write what there is; return what to wait for before the app makes more, if anything."""
        self.began = True
        if self._exchange is not None:
            self._deliver(self._exchange)
        if self._is_congested or self._is_full or self._is_rush:
            return self._delay()
        self._acknowledged_at = time.monotonic()
        return None

    @property
    def _is_congested(self) -> bool:
        """Whether the client takes the response more slowly than it comes."""
        return self._exchange is not None and self._exchange.congested and not self._exchange.gone

    @property
    @override
    def _is_full(self) -> bool:
        """Whether much waits for a client that comes back."""
        return self._held > _HELD_LIMIT and not self._over

    @property
    def _is_rush(self) -> bool:
        """Whether the app makes more than was acknowledged just now."""
        return time.monotonic() - self._acknowledged_at < _RUSH_S and not self._ended

    async def _delay(self) -> None:
        if self._exchange is not None:
            await self._exchange.drained()
        while self._is_full:
            await self._attached.wait()
        if self._is_rush:
            await asyncio.sleep(_RUSH_S)  # acknowledged a little later
        self._acknowledged_at = time.monotonic()

    @override
    def close(self) -> None:
        self._over = True
        self._attached.set()

    async def _fetched(self, blob_id: str) -> bytes:
        """Read a blob that nobody needs again."""
        path = self._blob(blob_id)
        data = await asyncio.to_thread(path.read_bytes)
        path.unlink(missing_ok=True)
        return data

    def _deliver(self, exchange: Exchange) -> None:
        self._held = 0
        try:
            while self._messages:
                self._write(exchange, self._messages.popleft())
            if not exchange.gone:
                exchange.flush()
        except HttpError as error:
            exchange.fail(str(error))

    def _write(self, exchange: Exchange, message: api.Asgi) -> None:
        if exchange.gone:
            return
        if message.HasField("http_response_start"):
            if exchange.started:
                exchange.abort()  # another container began the answer again
                return
            start = message.http_response_start
            flat = [*start.headers]
            pairs = zip(flat[::2], flat[1::2], strict=False)
            exchange.start(start.status, [*pairs, *self._own_headers])
        elif message.HasField("http_response_body") and exchange.started:
            body = message.http_response_body
            self._ended = not body.more_body
            exchange.write(body.body, more=body.more_body)
