"""Numbered pieces of data on their way through the plane."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Iterable

from ..protocol import api
from ..waiting import Bell

__all__ = ["ChunkStream"]

_UNREAD_LIMIT = 16 * 1024 * 1024


class ChunkStream:
    """Numbered chunks from one side to the other: generator items, request and response bodies.

    Args:
        bounded: Drop what was read and make the writer wait while 16 MiB are unread. Without it
            everything is kept, so that a reader may start again from the beginning.
    """

    def __init__(self, *, bounded: bool) -> None:
        self._bounded = bounded
        self._chunks: deque[api.DataChunk] = deque()
        self._unread = 0
        self._last = 0
        self._closed = False
        self._bell = Bell()

    async def put(self, chunks: Iterable[api.DataChunk]) -> None:
        """Append chunks and wait until there is room for more."""
        if (room := self.take(chunks)) is not None:
            await room

    def take(self, chunks: Iterable[api.DataChunk]) -> Awaitable[None] | None:
        """Append chunks; a chunk without an index gets the next one.

        Returns:
            What to wait for before there are more, if anything.
        """
        for chunk in chunks:
            self._last = chunk.index = chunk.index or self._last + 1
            self._chunks.append(chunk)
            self._unread += len(chunk.data)
        self._bell.ring()
        return self._room() if self._is_full else None

    @property
    def _is_full(self) -> bool:
        return self._bounded and self._unread > _UNREAD_LIMIT and not self._closed

    async def _room(self) -> None:
        while self._is_full:
            await self._bell.next().wait()

    def close(self) -> None:
        """Say that no chunk will follow, and let go of a waiting writer."""
        self._closed = True
        self._bell.ring()

    async def read(
        self, after: int = 0, *, until_closed: bool = False
    ) -> AsyncGenerator[api.DataChunk, None]:
        """Yield the chunks numbered above ``after`` as they come.

        With ``until_closed`` it ends when the stream is closed. A client instead opens a stream
        again at once when it ends, so for clients it stays open until they let go.
        """
        position = 0
        while True:
            changed = self._bell.next()
            while position < len(self._chunks):
                chunk = self._chunks.popleft() if self._bounded else self._chunks[position]
                position += not self._bounded
                if chunk.index > after:
                    yield chunk
                    self._read(chunk)
            if self._closed and until_closed:
                return
            await changed.wait()

    def _read(self, chunk: api.DataChunk) -> None:
        was_full = self._unread > _UNREAD_LIMIT
        self._unread -= len(chunk.data)
        if was_full:
            self._bell.ring()
