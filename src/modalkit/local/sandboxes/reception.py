"""Connect tokens: HTTP and WebSockets to a sandbox's ports for whoever shows a token."""

from __future__ import annotations

import asyncio
import secrets
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

from ..containers.container import Container
from ..containers.tunnels import connect
from ..wire.http1 import HEAD_LIMIT, HttpError, RequestHead, parse_request, plain_answer
from ..wire.splice import one_way
from ..wire.trust import TLS_HOST, Trust

__all__ = ["Reception"]

_NAME = "_modal_connect_token"
_VISITOR = b"x-verified-user-data"
_END = b"\r\n\r\n"
_INTERIM, _SWITCHED = b"HTTP/1.1 1", b"HTTP/1.1 101"


@dataclass(frozen=True, slots=True)
class _Pass:
    """What a token is good for: a port, and what is said there of who shows it."""

    port: int
    about: str


@dataclass
class Reception:
    """Leads whoever shows a token to the port that it is for; one connection, one request.

    Attributes:
        trust: What the address shows, which is encrypted as on Modal.
    """

    container: Container
    trust: Trust
    _passes: dict[str, _Pass] = field(default_factory=dict, repr=False)
    _server: asyncio.Server | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def admit(self, port: int, about: str) -> str:
        """Return a token for a port, whose server is told ``about`` whoever shows it."""
        token = secrets.token_urlsafe(32)
        self._passes[token] = _Pass(port, about)
        return token

    async def url(self) -> str:
        """Return where it answers; from the first time it is asked for."""
        async with self._turn:
            if self._server is None:
                tls = await self.trust.server_context()
                self._server = await asyncio.start_server(
                    self._receive, "127.0.0.1", 0, ssl=tls, limit=HEAD_LIMIT
                )
        return f"https://{TLS_HOST}:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.container.connections += 1
        try:
            await self._lead(reader, writer)
        except HttpError as error:
            writer.write(plain_answer(error.status, str(error)))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # the client went away, or never spoke HTTP
        finally:
            self.container.connections -= 1
            writer.close()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = parse_request(await reader.readuntil(_END))
        token, asked = next(
            ((one, asked) for one, asked in _shown(head) if one in self._passes), ("", False)
        )
        if not token:
            text = f"Show a connect token: as Authorization: Bearer TOKEN, or ?{_NAME}=TOKEN."
            raise HttpError(HTTPStatus.UNAUTHORIZED, text)
        admitted = self._passes[token]
        try:
            inner = await connect(self.container, admitted.port)
        except OSError as error:
            text = f"Nothing listens on port {admitted.port} of the sandbox."
            raise HttpError(HTTPStatus.BAD_GATEWAY, text) from error
        inner[1].write(_for_server(head, admitted.about))
        inward = asyncio.create_task(one_way(reader, inner[1]))
        try:
            await _begin_answer(inner[0], writer, token if asked else "")
            await one_way(inner[0], writer)
        finally:
            inward.cancel()
            inner[1].close()


def _shown(head: RequestHead) -> Iterator[tuple[str, bool]]:
    """Yield the tokens that a request shows, and whether its address has it."""
    query = urllib.parse.urlsplit(head.target.decode("latin-1")).query
    for in_address in urllib.parse.parse_qs(query).get(_NAME, ()):
        yield in_address, True
    yield head.get(b"authorization").decode("latin-1").removeprefix("Bearer ").strip(), False
    for name, value in head.headers:
        if name == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                key, _, held = pair.strip().partition("=")
                if key == _NAME:
                    yield held, False


def _for_server(head: RequestHead, about: str) -> bytes:
    """Return a request's head as the sandbox's server gets it: with what is known of its visitor."""
    left_out = {_VISITOR} if head.upgrade else {_VISITOR, b"connection", b"keep-alive"}
    lines = [
        f"{head.method} {head.target.decode('latin-1')} HTTP/1.{head.minor}".encode("latin-1"),
        *(name + b": " + value for name, value in head.headers if name not in left_out),
    ]
    if not head.upgrade:
        lines.append(b"connection: close")
    if about:
        lines.append(_VISITOR + b": " + " ".join(about.split()).encode())
    return b"\r\n".join(lines) + _END


async def _begin_answer(
    inner: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
) -> None:
    """Pass a response's head on, which says that the connection ends with it.

    With a token it lets a browser show that again: what a page loads has none in its address.
    """
    while (head := await inner.readuntil(_END)).startswith(_INTERIM):
        writer.write(head)
        if head.startswith(_SWITCHED):
            return
    first, *fields = head.removesuffix(_END).split(b"\r\n")
    lines = [one for one in fields if not one.lower().startswith((b"connection:", b"keep-alive:"))]
    lines.append(b"connection: close")
    if token:
        cookie = f"{_NAME}={token}; Path=/; HttpOnly; Secure; SameSite=None"
        lines.append(b"set-cookie: " + cookie.encode())
    writer.write(b"\r\n".join([first, *lines]) + _END)
