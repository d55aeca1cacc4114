"""One request and its response, on an HTTP/1.1 connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

from .http1 import Body, HttpError, RequestHead

__all__ = ["UNREAD_LIMIT", "Exchange", "Wire"]

UNREAD_LIMIT = 1024 * 1024
"""So much of a body may be unread before its client has to wait."""

_OWN_HEADERS = {b"transfer-encoding", b"connection", b"keep-alive"}
_NO_BODY = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


class Wire(Protocol):
    """The connection an exchange is on."""

    transport: asyncio.Transport
    congested: bool

    async def changed(self) -> None:
        """Wait until the connection takes more, or is lost."""

    def answered(self, *, keep_alive: bool) -> None:
        """A response is finished."""


class Exchange:
    """One request and its response.

    Attributes:
        head: The request's first line and headers.
        complete: The whole request body has come.
        gone: The client went away, or the response is finished.
        on_gone: Called once if the client goes away before the response is finished.
    """

    def __init__(self, wire: Wire, head: RequestHead, body: Body) -> None:
        self.head = head
        self.complete = body.done
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self._wire = wire
        self._received: list[bytes] = []
        self._unread = 0
        self._news: asyncio.Future[None] | None = None
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._begun = self._chunked = self._ended = False
        self._left: int | None = None
        self._out: list[bytes] = []

    @property
    def started(self) -> bool:
        """Whether the response's status is known."""
        return self._status > 0

    @property
    def client(self) -> tuple[str, int]:
        """The address the request came from."""
        host, port, *_ = self._wire.transport.get_extra_info("peername") or ("", 0)
        return host, port

    @property
    def server(self) -> tuple[str, int]:
        """The address the request came to."""
        host, port, *_ = self._wire.transport.get_extra_info("sockname") or ("", 0)
        return host, port

    @property
    def congested(self) -> bool:
        """Whether the client takes the response more slowly than it is written."""
        return self._wire.congested

    def take(self) -> bytes:
        """Return what has come of the body since the last time."""
        data, self._received = b"".join(self._received), []
        if self._unread > UNREAD_LIMIT:
            self._wire.transport.resume_reading()
        self._unread = 0
        return data

    async def receive(self) -> bytes:
        """Wait for more of the body; nothing means that it is complete or the client is gone."""
        while not (self._received or self.complete or self.gone):
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return self.take()

    async def drained(self) -> None:
        """Wait until the client has taken most of what was written."""
        while self._wire.congested and not self.gone:
            await self._wire.changed()

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin the response; its head goes out with the first of the body, or with `flush`."""
        self._status = status
        self._headers = [pair for pair in headers if pair[0].lower() not in _OWN_HEADERS]

    def write(self, data: bytes, *, more: bool) -> None:
        """Add to the response's body; `flush` sends it.

        Raises:
            HttpError: The body is not as long as its Content-Length says.
        """
        if not self._begun:
            self._begin(len(data) if not more else None)
        if self._bodyless:
            data = b""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0 or (self._left and not more and not self._bodyless):
                msg = "The app's response is not as long as its Content-Length says."
                raise HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, msg)
        if data:
            self._out += [b"%x\r\n" % len(data), data, b"\r\n"] if self._chunked else [data]
        if not more:
            self._out += [b"0\r\n\r\n"] if self._chunked else []
            self._ended = True

    def flush(self) -> None:
        """Send what was written so far; after the last of it the connection takes a new request."""
        if self.started and not self._begun:
            self._begin(None)
        out, self._out = self._out, []
        if out and not self.gone:
            self._wire.transport.write(b"".join(out))
        if self._ended and not self.gone:
            self.gone = True
            self._wire.answered(keep_alive=self._keeps_alive)

    def answer(self, status: int, text: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Send a whole response of plain text."""
        kind = (b"content-type", b"text/plain; charset=utf-8")
        self.start(status, [kind, *headers])
        self.write(text.encode(), more=False)
        self.flush()

    def abort(self) -> None:
        """Cut the connection, so that the client sees that the response is not complete."""
        self._wire.transport.abort()

    def fail(self, text: str) -> None:
        """Say that the app's response cannot be sent; if it has begun, all that is left is a cut."""
        if self._begun:
            self.abort()
        else:
            self._out.clear()
            self.answer(HTTPStatus.INTERNAL_SERVER_ERROR, text)

    def expects_continue(self) -> bool:
        """Whether the client holds the body back until it is told to go on."""
        return self.head.get(b"expect").lower() == b"100-continue"

    def go_on(self) -> None:
        """Tell a client that asked first to send the body."""
        if not self.complete and not self._received and self.expects_continue():
            self._wire.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def feed(self, data: bytes, *, complete: bool) -> None:
        """Take a piece of the body from the connection."""
        self.complete = complete
        if data:
            self._received.append(data)
            self._unread += len(data)
            if self._unread > UNREAD_LIMIT:
                self._wire.transport.pause_reading()
        self._wake()

    def lose(self) -> None:
        """The connection ended."""
        if not self.gone:
            self.gone = True
            self._wake()
            if self.on_gone is not None:
                self.on_gone()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    @property
    def _bodyless(self) -> bool:
        return self.head.method == "HEAD" or self._status in _NO_BODY

    @property
    def _keeps_alive(self) -> bool:
        bounded = self._chunked or self._left is not None or self._bodyless
        return bounded and self.head.keeps_alive

    def _begin(self, length: int | None) -> None:
        """Write the head; ``length`` is the whole body's, where it is known."""
        declared = [value for name, value in self._headers if name.lower() == b"content-length"]
        own = [(b"date", _date())] if not _has(self._headers, b"date") else []
        if declared and not self._bodyless:
            self._left = int(declared[0])
        elif length is not None and not declared and self._status not in _NO_BODY:
            own.append((b"content-length", b"%d" % length))
            self._left = length
        elif self.head.minor == 1 and not self._bodyless:
            self._chunked = True
            own.append((b"transfer-encoding", b"chunked"))
        if not self._keeps_alive:
            own.append((b"connection", b"close"))
        self._out.append(_head(self._status, [*self._headers, *own]))
        self._begun = True


def _head(status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    lines = [b"HTTP/1.1 %d %s" % (status, _PHRASES.get(status, b""))]
    lines += [b"%s: %s" % pair for pair in headers]
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(headers) or head.count(b"\r") != len(headers):
        msg = "The app's response has a header with a line break in it."
        raise HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, msg)
    return head + b"\r\n\r\n"


def _has(headers: list[tuple[bytes, bytes]], name: bytes) -> bool:
    return any(known.lower() == name for known, _ in headers)


_dated: tuple[int, bytes] = (0, b"")


def _date() -> bytes:
    """Return the time for a Date header, made once a second."""
    global _dated  # noqa: PLW0603 - a cache of one value
    now = int(time.time())
    if _dated[0] != now:
        _dated = now, formatdate(now, usegmt=True).encode()
    return _dated[1]
