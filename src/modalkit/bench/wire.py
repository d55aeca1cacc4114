"""HTTP/1.1 on asyncio's protocols, for one thing: knowing when which bytes came.

A moment is taken when the socket gave the bytes, before anything of them is read, and no task has to
be scheduled between a chunk and its moment. General clients cost several times as much per chunk.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

from .answers import Answer
from .target import Target

__all__ = ["Client"]

_HEAD_END = b"\r\n\r\n"
_MOST_HEAD = 65_536


class Client:
    """Sends requests to one endpoint over connections that are kept.

    Args:
        target: The endpoint.
        timeout_s: Seconds a request may take altogether.
    """

    def __init__(self, target: Target, timeout_s: float) -> None:
        self.target = target
        self.opened = 0
        self._timeout_s = timeout_s
        self._tls = target.tls()
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()

    async def ask(self, request: bytes, answer: Answer) -> None:
        """Send a request; the answer has its moments, or its failure, when this returns.

        Cancelled, it drops the connection and the answer has no end.
        """
        answer.sent = time.perf_counter()
        loop = asyncio.get_running_loop()
        clock = loop.call_later(self._timeout_s, self._too_late, answer)
        try:
            while True:
                connection, used_before = await self._connection(answer)
                if connection is None:
                    break
                await self._exchange(connection, request, answer)
                if not (used_before and answer.never_arrived):
                    break
                answer.failure = ""  # the server had closed a connection that was idle: once more
        finally:
            clock.cancel()
        answer.end(time.perf_counter())

    def close(self) -> None:
        """Close every connection."""
        for connection in [*self._idle, *self._busy]:
            connection.close()
        self._idle.clear()

    async def _connection(self, answer: Answer) -> tuple[_Connection | None, bool]:
        while self._idle:
            kept = self._idle.pop()
            if kept.is_open:
                return kept, True
        try:
            return await self._connect(answer), False
        except (OSError, TimeoutError) as error:
            answer.fail("timeout" if isinstance(error, TimeoutError) else "connect", str(error))
            return None, False

    async def _connect(self, answer: Answer) -> _Connection:
        loop = asyncio.get_running_loop()
        left = max(0.001, answer.sent + self._timeout_s - time.perf_counter())
        async with asyncio.timeout(left):
            transport, connection = await loop.create_connection(
                _Connection,
                self.target.host,
                self.target.port,
                ssl=self._tls,
                server_hostname=self.target.host if self._tls else None,
            )
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened += 1
        return connection

    async def _exchange(self, connection: _Connection, request: bytes, answer: Answer) -> None:
        answer.cut_off = connection.abort
        self._busy.add(connection)
        try:
            await connection.exchange(request, answer)
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            self._busy.discard(connection)
            answer.cut_off = None
        if connection.is_open:
            self._idle.append(connection)

    def _too_late(self, answer: Answer) -> None:
        answer.fail("timeout", f"no whole answer within {self._timeout_s:g} s")
        if answer.cut_off is not None:
            answer.cut_off()


class _Connection(asyncio.Protocol):
    """One connection: a request and its answer after the other."""

    def __init__(self) -> None:
        self.is_open = False
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._done: asyncio.Future[None] | None = None
        self._head = b""
        self._body: _Body | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream connection
        self._transport = transport
        self.is_open = True

    def exchange(self, request: bytes, answer: Answer) -> asyncio.Future[None]:
        """Send; the future is done when the whole answer has come, or nothing more will."""
        assert self._transport is not None  # noqa: S101 - connected
        self._answer, self._head, self._body = answer, b"", None
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._done

    def data_received(self, data: bytes) -> None:
        at = time.perf_counter()
        answer = self._answer
        if answer is None:  # bytes that nobody asked for
            self.close()
            return
        if self._body is None:
            data = self._read_head(data, answer)
            if self._body is None:
                return
        piece, ended = self._body.feed(data)
        if piece:
            answer.feed(piece, at)
        if ended:
            self._finish(keep=self._body.keeps)

    def eof_received(self) -> None:
        """The other side sends no more; what has no length ends here."""
        if self._body is not None and self._body.until_close:
            self._finish(keep=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._answer is not None:
            if self._body is None or not self._body.until_close:
                said = f": {exc}" if exc else ""
                self._answer.fail("cut off", f"the connection was closed in the answer{said}")
            self._finish(keep=False)

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close it."""
        self.is_open = False
        if self._transport is not None:
            self._transport.close()

    def _read_head(self, data: bytes, answer: Answer) -> bytes:
        """Collect the head; return what of the body came with it."""
        self._head += data
        end = self._head.find(_HEAD_END)
        if end < 0:
            if len(self._head) > _MOST_HEAD:
                answer.fail("malformed", "the head of the answer does not end")
                self._finish(keep=False)
            return b""
        head, rest = self._head[:end], self._head[end + len(_HEAD_END) :]
        try:
            status, headers = _parse_head(head)
        except ValueError:
            answer.fail("malformed", f"the answer begins with {head[:60]!r}")
            self._finish(keep=False)
            return b""
        if status < 200:  # noqa: PLR2004 - the real head follows
            self._head = b""
            return self._read_head(rest, answer) if rest else b""
        answer.head(status, headers)
        self._body = _Body(headers)
        return rest

    def _finish(self, *, keep: bool) -> None:
        self._answer = None
        if not keep:
            self.close()
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status, *_ = first.split(" ", 2)
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(status), headers


class _Body:
    """Takes a body out of its framing.

    Attributes:
        keeps: Whether the connection may be used again.
        until_close: Whether the end of the connection is the end of the body.
    """

    def __init__(self, headers: dict[str, str]) -> None:
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        self.until_close = not self._chunked and length is None
        self.keeps = not self.until_close and headers.get("connection", "").lower() != "close"
        self._left = int(length or 0)
        self._rest = b""  # an unfinished line of the framing
        self._last = False

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return what of the body is in these bytes, and whether it has ended."""
        if self._chunked:
            return self._feed_chunks(data)
        if self.until_close:
            return data, False
        self._left -= len(data)
        return data, self._left <= 0

    def _feed_chunks(self, data: bytes) -> tuple[bytes, bool]:
        if self._rest:
            data, self._rest = self._rest + data, b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                self._rest = data[at:]
                break
            line = data[at:end]
            at = end + 2
            if self._last and not line:
                return b"".join(pieces), True
            if line and not self._last:
                self._left = int(line.split(b";", 1)[0], 16)
                self._last = self._left == 0
        return b"".join(pieces), False
