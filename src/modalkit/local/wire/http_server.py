"""An HTTP/1.1 server that hands each request, and what is written back, straight through.

It adds nothing of its own to a response but framing and a date, buffers nothing, makes no task and
sets no timer for a request, and lets go of whoever is too slow, too large or gone.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus

from typing_extensions import override

from .client_connection import ClientConnection
from .exchange import Exchange
from .http1 import HEAD_LIMIT, Body, HttpError, RequestHead, parse_request
from .http1 import request_body as framing_of
from .listener import Listener

__all__ = ["HttpServer"]


class Connection(ClientConnection):
    """One client's connection: requests in turn, each with its response before the next begins."""

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server.listener.connections)
        self._server = server
        self._exchange: Exchange | None = None
        self._body: Body | None = None
        self._waiting = False
        self._changed: asyncio.Future[None] | None = None
        self.congested = False

    @property
    @override
    def under_way(self) -> bool:
        return self._exchange is not None

    @property
    @override
    def is_answering(self) -> bool:
        return self._exchange is not None and not self._waiting

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
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
        if self.buffer:
            asyncio.get_running_loop().call_soon(self.advance)

    @override
    def advance(self) -> None:
        try:
            while self.buffer and not self.transport.is_closing():
                if self._body is not None:
                    self._feed_body(self._body)
                elif self._exchange is not None:
                    if len(self.buffer) > HEAD_LIMIT:
                        self.transport.pause_reading()
                    return
                elif not self._take_head():
                    return
        except HttpError as error:
            self.refuse(error.status, str(error))

    def _take_head(self) -> bool:
        raw = self.next_head()
        if not raw:
            return False
        head = parse_request(raw)
        if head.upgrade == b"websocket":
            self._hand_over(raw + self.buffer)
            return False
        self._begin(head)
        return True

    def _begin(self, head: RequestHead) -> None:
        body = framing_of(head)
        self._exchange = exchange = Exchange(self, head, body)
        if not body.done:
            self._body = body
            if self.buffer:
                self._feed_body(body)
            else:
                exchange.go_on()
        self._waiting = not exchange.complete and self._server.awaits(head)
        if not self._waiting:
            self._server.handle(exchange)

    def _feed_body(self, body: Body) -> None:
        data, self.buffer = body.feed(self.buffer)
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
        self.buffer = b""

    @override
    def refuse(
        self, status: HTTPStatus, text: str, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        if self._exchange is not None and self._exchange.started:
            self.transport.abort()
        else:
            super().refuse(status, text, headers)


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
