"""One client's connection to a server's URL, and the replica's connection it is answered from.

Bytes go through as they come and as they are. Requests and responses are read only as far as it
takes to know where each ends, so that every request of a connection is let in, placed and counted
by itself; after an upgrade, and with HTTP/2, everything passes unread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Protocol

from typing_extensions import override

from ..containers.container import Container
from ..wire.client_connection import ClientConnection
from ..wire.http1 import (
    HEAD_LIMIT,
    Body,
    CountedBody,
    HttpError,
    RequestHead,
    UnboundedBody,
    parse_request,
    parse_response,
    request_body,
    response_body,
)
from ..wire.listener import Watched

__all__ = ["ClientSide", "ReplicaSide", "Routes"]

_HTTP2 = b"PRI * HTTP/2.0\r\n\r\n"
_COME_BACK = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_REPEATABLE = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}


class Routes(Protocol):
    """Where clients' requests may go; each method may raise `HttpError` to refuse one."""

    @property
    def connections(self) -> set[Watched]:
        """Clients that are connected."""

    def admit(self, head: RequestHead | None) -> None:
        """Check a request's credentials; without a head they cannot be seen."""

    def idle(self, head: RequestHead | None) -> ReplicaSide | None:
        """Return an open connection to the replica that is to answer, counted as busy."""

    async def connect(self, head: RequestHead | None) -> ReplicaSide:
        """Open a connection to the replica that is to answer, counted as busy."""

    def done(self, replica: ReplicaSide, *, reusable: bool) -> None:
        """A request was answered, or will not be."""


class ReplicaSide(asyncio.Protocol):
    """A connection to a replica, of one client at a time.

    Attributes:
        used: It has answered a request, so the replica may be about to close it.
        idle_since: When it answered the last one.
    """

    transport: asyncio.Transport

    def __init__(self, container: Container) -> None:
        self.container = container
        self.used = False
        self.idle_since = time.monotonic()
        self._client: ClientSide | None = None
        self._buffer = b""
        self._body: Body | None = None
        self._keeps_alive = False

    @property
    def begun(self) -> bool:
        """Whether some of the current response has come."""
        return self._body is not None or bool(self._buffer)

    def serve(self, client: ClientSide, data: bytes) -> None:
        """Send a client's request, or what there is of it."""
        self._client, self._buffer = client, b""
        self._body = UnboundedBody() if client.raw else None
        self.transport.write(data)

    def leave(self) -> None:
        """The client is gone."""
        self._client = None
        self.transport.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream socket has
        self.transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        if self._client is None:
            self.transport.abort()  # nobody asked
            return
        try:
            self._take(self._client, data)
        except HttpError:
            self.transport.abort()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        client, self._client = self._client, None
        if client is not None:
            whole = exc is None and isinstance(self._body, UnboundedBody)
            client.replica_lost(self, whole=whole)

    @override
    def pause_writing(self) -> None:
        if self._client is not None:
            self._client.hold(congested=True)

    @override
    def resume_writing(self) -> None:
        if self._client is not None:
            self._client.hold(congested=False)

    def _take(self, client: ClientSide, data: bytes) -> None:
        """Pass a piece of the response on, in one write."""
        out = b""
        self._buffer += data
        while self._body is None and (raw := self._next_head()):
            self._read_head(client, raw)
            out += raw
        if self._body is not None:
            data, self._buffer = self._buffer, b""
            _, rest = self._body.feed(data)
            out += data[: len(data) - len(rest)]
            client.transport.write(out)
            if self._body.done:
                self._client, self.used = None, True
                client.answered(self, keep_alive=self._keeps_alive and not rest)
        elif out:
            client.transport.write(out)

    def _next_head(self) -> bytes:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_LIMIT:
                self.transport.abort()
            return b""
        raw, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        return raw

    def _read_head(self, client: ClientSide, raw: bytes) -> None:
        head = parse_response(raw)
        if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
            self._body = UnboundedBody()
            client.pass_everything()
        elif head.status >= HTTPStatus.OK:
            self._keeps_alive = head.keeps_alive
            self._body = response_body(head, client.method)


class ClientSide(ClientConnection):
    """A client's connection.

    Attributes:
        method: The current request's.
        raw: Everything passes unread.
    """

    def __init__(self, routes: Routes) -> None:
        super().__init__(routes.connections)
        self.method = ""
        self.raw = False
        self._routes = routes
        self._head: RequestHead | None = None
        self._body: Body = CountedBody(0)
        self._sent = b""
        self._replica: ReplicaSide | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._congested = False

    @property
    @override
    def under_way(self) -> bool:
        return self._head is not None

    @property
    @override
    def is_answering(self) -> bool:
        return self._head is not None or self.raw

    def answered(self, replica: ReplicaSide, *, keep_alive: bool) -> None:
        """A response is finished."""
        keep_alive = keep_alive and self._body.done
        self._replica = None
        self._routes.done(replica, reusable=keep_alive)
        stays = keep_alive and self._head is not None and self._head.keeps_alive
        self._head, self._sent = None, b""
        self.last_byte = time.monotonic()
        if not stays:
            self.transport.close()
        elif self.buffer:
            asyncio.get_running_loop().call_soon(self.advance)
        self._regulate()

    def replica_lost(self, replica: ReplicaSide, *, whole: bool) -> None:
        """The replica closed its connection; with ``whole`` that was the end of its response."""
        self._replica = None
        self._routes.done(replica, reusable=False)
        if whole:
            self.transport.close()
        elif replica.begun:
            self.transport.abort()  # the client must see that the response is not complete
        elif replica.used and self._sent and self.method in _REPEATABLE:
            self._connecting = asyncio.create_task(self._connect())
        else:
            self.refuse(HTTPStatus.BAD_GATEWAY, "The server closed the connection unanswered.")

    def pass_everything(self) -> None:
        """The two have agreed on another protocol."""
        self.raw, self._body = True, UnboundedBody()

    def hold(self, *, congested: bool) -> None:
        """The replica takes the request more slowly than it comes, or no longer."""
        self._congested = congested
        self._regulate()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._replica is not None:
            replica, self._replica = self._replica, None
            replica.leave()
            self._routes.done(replica, reusable=False)

    @override
    def pause_writing(self) -> None:
        if self._replica is not None:
            self._replica.transport.pause_reading()

    @override
    def resume_writing(self) -> None:
        if self._replica is not None:
            self._replica.transport.resume_reading()

    @override
    def advance(self) -> None:
        try:
            while self.buffer and not self.transport.is_closing():
                if self._replica is not None and not self._body.done:
                    self._replica.transport.write(self._next_piece())
                    self._sent = b""
                elif self._head is not None or self.raw or not self._take_head():
                    break
        except HttpError as error:
            self.refuse(HTTPStatus(error.status), str(error))
        self._regulate()

    def _next_piece(self) -> bytes:
        """Return the bytes at hand that belong to the current request."""
        data = self.buffer
        _, self.buffer = self._body.feed(data)
        return data[: len(data) - len(self.buffer)]

    def _take_head(self) -> bool:
        """Read a request's head and send it to a replica."""
        if self.buffer.startswith(_HTTP2):
            self.pass_everything()
            raw = b""
        else:
            raw = self.next_head()
            if not raw:
                return False
            head = parse_request(raw)
            self._head, self._body, self.method = head, request_body(head), head.method
        self._routes.admit(self._head)
        self._sent = raw + self._next_piece()
        replica = self._routes.idle(self._head)
        if replica is None:
            self._connecting = asyncio.create_task(self._connect())
        else:
            self._go(replica)
        return True

    async def _connect(self) -> None:
        try:
            replica = await self._routes.connect(self._head)
        except HttpError as error:
            self.refuse(HTTPStatus(error.status), str(error))
            return
        self._connecting = None
        self._go(replica)
        self.advance()

    def _go(self, replica: ReplicaSide) -> None:
        self._replica = replica
        replica.serve(self, self._sent)
        if not self._body.done:
            self._sent = b""  # it cannot be repeated

    def _regulate(self) -> None:
        """Read on unless there is enough to do."""
        if self.transport.is_closing():
            return
        if self._congested or len(self.buffer) > HEAD_LIMIT:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    @override
    def refuse(
        self, status: HTTPStatus, text: str, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        again = [(b"retry-after", b"1")] if status in _COME_BACK else []
        super().refuse(status, text, [*headers, *again])
