"""HTTP/1.1 on the wire: heads parsed strictly, and where a message's body ends.

What a server and a proxy could read differently is refused here, so that nothing behind the gateway
is reached by a request that the gateway understood in another way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import NoReturn

__all__ = [
    "HEAD_LIMIT",
    "Body",
    "ChunkedBody",
    "CountedBody",
    "HttpError",
    "RequestHead",
    "ResponseHead",
    "UnboundedBody",
    "parse_request",
    "parse_response",
    "plain_answer",
    "request_body",
    "response_body",
]

HEAD_LIMIT = 64 * 1024
"""Bytes that a request line and its headers may have together."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(%s) ([^\x00-\x20\x7f]+) HTTP/1\.([01])" % _TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\x00\r\n]*)?")
_FIELD = re.compile(rb"(%s):[ \t]*([^\x00\r\n]*?)[ \t]*" % _TOKEN)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00\r\n]*)?")
_CHUNK_LINE_LIMIT = 4096

Headers = Sequence[tuple[bytes, bytes]]


class HttpError(Exception):
    """A message that is not HTTP, or more than is taken; carries the status to answer with."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's first line and headers; header names are in lower case."""

    method: str
    target: bytes
    minor: int
    headers: list[tuple[bytes, bytes]]

    def get(self, name: bytes) -> bytes:
        """Return a header's value, the first if it was sent twice, else nothing."""
        return next((value for known, value in self.headers if known == name), b"")

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may carry another request after this one."""
        options = _listed(self.headers, b"connection")
        return b"close" not in options and (self.minor == 1 or b"keep-alive" in options)

    @property
    def upgrade(self) -> bytes:
        """What it wants the connection to become, in lower case."""
        wanted = b"upgrade" in _listed(self.headers, b"connection")
        return self.get(b"upgrade").lower() if wanted else b""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A response's first line and headers; header names are in lower case."""

    status: int
    minor: int
    headers: list[tuple[bytes, bytes]]

    @property
    def keeps_alive(self) -> bool:
        """Whether the server goes on listening on this connection."""
        options = _listed(self.headers, b"connection")
        return b"close" not in options and (self.minor == 1 or b"keep-alive" in options)


def parse_request(raw: bytes) -> RequestHead:
    """Parse a request's head, its final empty line included or not.

    Raises:
        HttpError: It is not HTTP/1.0 or 1.1.
    """
    first, *lines = raw.rstrip(b"\r\n").split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        _refuse("The first line is not METHOD TARGET HTTP/1.1.")
    head = RequestHead(line[1].decode(), line[2], int(line[3]), _fields(lines))
    hosts = sum(name == b"host" for name, _ in head.headers)
    if hosts > 1 or (hosts == 0 and head.minor == 1):
        _refuse(f"A request has one Host header, got {hosts}.")
    return head


def parse_response(raw: bytes) -> ResponseHead:
    """Parse a response's head, its final empty line included or not.

    Raises:
        HttpError: It is not HTTP/1.0 or 1.1.
    """
    first, *lines = raw.rstrip(b"\r\n").split(b"\r\n")
    line = _STATUS_LINE.fullmatch(first)
    if line is None:
        _refuse("The first line is not HTTP/1.1 STATUS REASON.")
    return ResponseHead(int(line[2]), int(line[1]), _fields(lines))


class CountedBody:
    """A body of a known length."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def done(self) -> bool:
        """Whether the body is complete."""
        return self._left == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes from the wire; return the body's and those after it."""
        mine, rest = data[: self._left], data[self._left :]
        self._left -= len(mine)
        return mine, rest


class ChunkedBody:
    """A body in chunks that say their lengths; trailers are read and dropped."""

    def __init__(self) -> None:
        self.done = False
        self._left = 0
        self._line = b""
        self._state = self._size

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes from the wire; return the body's, without framing, and those after it.

        Raises:
            HttpError: The framing is broken.
        """
        pieces: list[bytes] = []
        while data and not self.done:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                pieces.append(piece)
                continue
            line, found, after = data.partition(b"\n")
            self._line += line
            if len(self._line) > _CHUNK_LINE_LIMIT:
                _refuse("A line of the chunked body is too long.")
            data = after
            if found:
                line, self._line = self._line, b""
                self._state(line)
        return b"".join(pieces), data

    def _size(self, line: bytes) -> None:
        size = _CHUNK_SIZE.fullmatch(line.removesuffix(b"\r"))
        if size is None or not line.endswith(b"\r"):
            _refuse("A chunk of the body does not begin with its length.")
        self._left = int(size[1], 16)
        self._state = self._gap if self._left else self._trailer

    def _gap(self, line: bytes) -> None:
        if line != b"\r":
            _refuse("A chunk of the body is longer than it said.")
        self._state = self._size

    def _trailer(self, line: bytes) -> None:
        self.done = line == b"\r"


class UnboundedBody:
    """A response's body that ends with its connection."""

    done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes from the wire; they are all the body's."""
        return data, b""


Body = CountedBody | ChunkedBody | UnboundedBody


def request_body(head: RequestHead) -> Body:
    """Return how a request's body is framed.

    Raises:
        HttpError: Its headers say more than one thing about it.
    """
    codings, length = _codings(head.headers), _length(head.headers)
    if not codings:
        return CountedBody(length or 0)
    if length is not None or head.minor == 0:
        _refuse("A body has a Content-Length or a Transfer-Encoding, not both.")
    if codings != [b"chunked"]:
        _refuse("The only Transfer-Encoding taken is chunked.", HTTPStatus.NOT_IMPLEMENTED)
    return ChunkedBody()


def response_body(head: ResponseHead, method: str) -> Body:
    """Return how the body of a response to a ``method`` request is framed."""
    empty = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
    if method == "HEAD" or head.status < HTTPStatus.OK or head.status in empty:
        return CountedBody(0)
    if codings := _codings(head.headers):
        return ChunkedBody() if codings[-1] == b"chunked" else UnboundedBody()
    length = _length(head.headers)
    return UnboundedBody() if length is None else CountedBody(length)


def plain_answer(status: HTTPStatus, text: str, headers: Headers = ()) -> bytes:
    """Return a whole response of plain text, after which the connection is closed."""
    body = text.encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}".encode(),
        b"content-type: text/plain; charset=utf-8",
        b"content-length: %d" % len(body),
        b"connection: close",
        *(b"%s: %s" % pair for pair in headers),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    fields = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            _refuse("A header line is not NAME: VALUE.")
        fields.append((field[1].lower(), field[2]))
    return fields


def _listed(headers: Headers, name: bytes) -> list[bytes]:
    values = [value for known, value in headers if known == name]
    return [part.strip().lower() for part in b",".join(values).split(b",") if part.strip()]


def _codings(headers: Headers) -> list[bytes]:
    return _listed(headers, b"transfer-encoding")


def _length(headers: Headers) -> int | None:
    values = {value for name, value in headers if name == b"content-length"}
    if not values:
        return None
    value = values.pop()
    if values or not value.isdigit():
        _refuse("Content-Length is one whole number.")
    return int(value)


def _refuse(text: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> NoReturn:
    raise HttpError(status, text)
