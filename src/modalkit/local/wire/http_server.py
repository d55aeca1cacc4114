"""An HTTP/1.1 server that hands each request, and what is written back, straight through.

It adds nothing of its own to a response but framing and a date, buffers nothing, makes no task and
sets no timer for a request, and lets go of whoever is too slow, too large or gone.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from http import HTTPStatus

from typing_extensions import override

from .exchange import Exchange
from .http1 import HEAD_LIMIT, Body, HttpError, RequestHead, parse_request, plain_answer
from .http1 import request_body as framing_of
from .listener import IDLE_S, STALLED_S, Listener

__all__ = ["HttpServer"]


class Connection(asyncio.Protocol):
    """One client's connection: requests in turn, each with its response before the next begins."""

    transport: asyncio.Transport

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._buffer = b""
        self._exchange: Exchange | None = None
        self._body: Body | None = None
        self._waiting = False
        self._changed: asyncio.Future[None] | None = None
        self.congested = False
        self.last_byte = time.monotonic()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream server makes
        self.transport = transport
        self._server.listener.connections.add(self)

    @override
    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self.last_byte = time.monotonic()
        self._buffer += data
        self._advance()

    @override
    def eof_received(self) -> bool | None:
        if self._exchange is None and self._buffer:
            text = "The connection ended within a request."
            self.transport.write(plain_answer(HTTPStatus.BAD_REQUEST, text))
        return None

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._server.listener.connections.discard(self)
        self.resume_writing()
        if self._exchange is not None:
            self._exchange.lose()

    @override
    def pause_writing(self) -> None:
        self.congested = True

    @override
    def resume_writing(self) -> None:
        self.congested = False
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def changed(self) -> None:
        """Wait until the connection takes more, or is lost."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        await self._changed

    def answered(self, *, keep_alive: bool) -> None:
        """A response is finished."""
        self._exchange = None
        self.last_byte = time.monotonic()
        if not keep_alive:
            self.transport.close()
            return
        self.transport.resume_reading()
        if self._buffer:
            asyncio.get_running_loop().call_soon(self._advance)

    def check(self, now: float) -> None:
        """Let go of a client that does not go on."""
        quiet = now - self.last_byte
        awaited = self._buffer or self._waiting
        if (self._exchange is None or self._waiting) and awaited and quiet > STALLED_S:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The request did not come in time.")
        elif self._exchange is None and not awaited and quiet > IDLE_S:
            self.transport.close()

    def _advance(self) -> None:
        """Go as far as the bytes at hand allow."""
        try:
            while self._buffer and not self.transport.is_closing():
                if self._body is not None:
                    self._feed_body(self._body)
                elif self._exchange is not None:
                    if len(self._buffer) > HEAD_LIMIT:
                        self.transport.pause_reading()
                    return
                elif not self._take_head():
                    return
        except HttpError as error:
            self._refuse(error.status, str(error))

    def _take_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end > HEAD_LIMIT or (end < 0 and len(self._buffer) > HEAD_LIMIT):
            msg = f"A request's head has at most {HEAD_LIMIT // 1024} KiB."
            raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, msg)
        if end < 0:
            return False
        raw, rest = self._buffer[: end + 4], self._buffer[end + 4 :]
        head = parse_request(raw)
        if head.upgrade == b"websocket":
            self._hand_over(raw + rest)
            return False
        self._buffer = rest
        self._begin(head)
        return True

    def _begin(self, head: RequestHead) -> None:
        body = framing_of(head)
        self._exchange = exchange = Exchange(self, head, body)
        if not body.done:
            self._body = body
            if self._buffer:
                self._feed_body(body)
            else:
                exchange.go_on()
        self._waiting = not exchange.complete and self._server.awaits(head)
        if not self._waiting:
            self._server.handle(exchange)

    def _feed_body(self, body: Body) -> None:
        data, self._buffer = body.feed(self._buffer)
        self.last_byte = time.monotonic()
        if body.done:
            self._body = None
        if self._exchange is None:
            return  # the rest of a body that the app did not wait for
        self._exchange.feed(data, complete=body.done)
        if self._waiting and body.done:
            self._waiting = False
            self._server.handle(self._exchange)

    def _hand_over(self, data: bytes) -> None:
        """Leave a WebSocket to the protocol that speaks it."""
        self._server.listener.connections.discard(self)
        protocol = self._server.websocket()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)
        self._buffer = b""

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        """Answer a request that cannot be read, and close."""
        self._buffer = b""
        if self._exchange is not None and self._exchange.started:
            self.transport.abort()
            return
        self.transport.write(plain_answer(status, text))
        self.transport.close()


class HttpServer:
    """Takes the requests of one listening socket.

    Args:
        handle: Told of each request, once its head is there and `awaits` its body or does not.
        awaits: Whether a request is handed over only when its body is complete.
        websocket: Makes the protocol that takes a connection over for a WebSocket.
    """

    def __init__(
        self,
        handle: Callable[[Exchange], None],
        awaits: Callable[[RequestHead], bool],
        websocket: Callable[[], asyncio.Protocol],
    ) -> None:
        self.handle = handle
        self.awaits = awaits
        self.websocket = websocket
        self.listener = Listener(lambda: Connection(self))

    async def start(self, sock: socket.socket) -> None:
        """Accept connections."""
        await self.listener.start(sock)

    def close(self) -> None:
        """Stop listening and cut every connection."""
        self.listener.close()
