"""The way out for containers with a network of their own: an HTTP proxy on this machine.

Such a container has nothing but loopback. Its variables name this proxy, which every usual HTTP
client honours; a proxy that this machine itself needs is passed on to.

A connection carries one request, which is written anew for the next hop from what was checked: no
second one, and nothing that the two could read differently, comes past the allowlist.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import SplitResult, unquote, urlsplit

from .allowlist import AllowList
from .http1 import (
    HEAD_LIMIT,
    Body,
    ChunkedBody,
    HttpError,
    RequestHead,
    parse_request,
    request_body,
)
from .splice import both_ways, one_way

__all__ = ["PROXY_PORT", "OutgoingProxy", "proxy_variables"]

PROXY_PORT = 3128
"""Where the proxy is found inside a container."""

_END_OF_HEAD = b"\r\n\r\n"
_PIECE = 64 * 1024
_HTTP_PORT, _HTTPS_PORT = 80, 443
_OPENED = re.compile(r"HTTP/1\.[01] 2\d\d\b")
# What a proxy says itself to the next hop; those of proxies begin with "proxy-".
_OF_ONE_HOP = {b"connection", b"host", b"keep-alive", b"upgrade"}


def proxy_variables() -> dict[str, str]:
    """Return the variables that make programs use the proxy."""
    url, direct = f"http://127.0.0.1:{PROXY_PORT}", "127.0.0.1,localhost,0.0.0.0"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    return {**dict.fromkeys(names, url), "NO_PROXY": direct, "no_proxy": direct}


@dataclass(frozen=True, slots=True)
class OutgoingProxy:
    """Serves CONNECT and plain HTTP requests on sockets inside containers' networks.

    Attributes:
        allowed: Where they may lead; anywhere if None.
    """

    allowed: AllowList | None = None

    @asynccontextmanager
    async def serving(self, sock: socket.socket) -> AsyncIterator[None]:
        """Serve one container's listening socket."""
        server = await asyncio.start_server(self._handle, sock=sock, limit=HEAD_LIMIT)
        try:
            yield
        finally:
            server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        try:
            head = parse_request(await reader.readuntil(_END_OF_HEAD))
            carry = self._tunnel if head.method == "CONNECT" else self._forward
            await carry(head, reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # the program went away, or never spoke HTTP
        except HttpError as error:
            await _refuse(writer, error.status, error)
        except PermissionError as error:
            await _refuse(writer, HTTPStatus.FORBIDDEN, error)
        except (OSError, ValueError) as error:
            await _refuse(writer, HTTPStatus.BAD_GATEWAY, error)
        finally:
            writer.close()

    async def _tunnel(
        self, head: RequestHead, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Connect the program with what it named, and leave the connection to both."""
        wanted = urlsplit(f"https://{head.target.decode('latin-1')}")
        place = await self._checked(wanted)
        upstream = _upstream(wanted.scheme)
        async with _connection(upstream or place) as (out_reader, out_writer):
            if upstream is not None:
                await _open_tunnel(place, upstream, out_reader, out_writer)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await both_ways(reader, writer, out_reader, out_writer)

    async def _forward(
        self, head: RequestHead, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Send one plain request on and its response back."""
        wanted = urlsplit(head.target.decode("latin-1"))
        body = request_body(head)
        place = await self._checked(wanted)
        upstream = _upstream(wanted.scheme)
        async with _connection(upstream or place) as (out_reader, out_writer):
            out_writer.write(_rewritten(head, wanted, place, upstream))
            inward = asyncio.create_task(_send_body(body, reader, out_writer))
            try:
                await one_way(out_reader, writer)
            finally:
                inward.cancel()

    async def _checked(self, wanted: SplitResult) -> SplitResult:
        """Return the scheme, host and port that a request may lead to.

        Raises:
            PermissionError: It is not on the list.
        """
        host, port = wanted.hostname or "", _port(wanted)
        if self.allowed is not None:
            host = await self.allowed.address(host, port)
        shown = f"[{host}]" if ":" in host else host
        return SplitResult(wanted.scheme, f"{shown}:{port}", "", "", "")


@asynccontextmanager
async def _connection(
    place: SplitResult,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(place.hostname or "", _port(place))
    try:
        yield reader, writer
    finally:
        writer.close()


async def _open_tunnel(
    place: SplitResult,
    upstream: SplitResult,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Have this machine's proxy connect to a place.

    Raises:
        OSError: It does not; the connection, on which it would take other requests, is of no use.
    """
    lines = [f"CONNECT {place.netloc} HTTP/1.1", f"Host: {place.netloc}", *_login(upstream)]
    writer.write("\r\n".join(lines).encode("latin-1") + _END_OF_HEAD)
    answer = (await reader.readuntil(_END_OF_HEAD)).decode("latin-1").split("\r\n", 1)[0]
    if not _OPENED.match(answer):
        msg = f"This machine's proxy {upstream.hostname!r} refused {place.netloc!r}: {answer!r}."
        raise OSError(msg)


async def _send_body(
    body: Body, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Send a request's body, framed anew, and nothing that comes after it."""
    try:
        while not body.done and (data := await reader.read(_PIECE)):
            mine, _ = body.feed(data)
            if isinstance(body, ChunkedBody) and mine:
                mine = b"%x\r\n%s\r\n" % (len(mine), mine)
            writer.write(mine)
            await writer.drain()
        if isinstance(body, ChunkedBody) and body.done:
            writer.write(b"0\r\n\r\n")
        while await reader.read(_PIECE):
            pass
        writer.write_eof()
    except (HttpError, OSError):
        writer.close()


async def _refuse(writer: asyncio.StreamWriter, status: HTTPStatus, error: Exception) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n\r\n{error}\n".encode())
        await writer.drain()


def _port(place: SplitResult) -> int:
    return place.port or (_HTTPS_PORT if place.scheme == "https" else _HTTP_PORT)


def _upstream(scheme: str) -> SplitResult | None:
    """Return the proxy that this machine itself uses, if it does."""
    name = f"{scheme}_proxy"
    url = os.environ.get(name) or os.environ.get(name.upper())
    return urlsplit(url) if url else None


def _login(upstream: SplitResult) -> list[str]:
    if upstream.username is None:
        return []
    login = f"{unquote(upstream.username)}:{unquote(upstream.password or '')}"
    return [f"Proxy-Authorization: Basic {base64.b64encode(login.encode()).decode()}"]


def _rewritten(
    head: RequestHead, wanted: SplitResult, place: SplitResult, upstream: SplitResult | None
) -> bytes:
    """Return a request's head for the server itself, or for the proxy upstream."""
    path = (wanted.path or "/") + (f"?{wanted.query}" if wanted.query else "")
    target = path if upstream is None else f"{place.scheme}://{place.netloc}{path}"
    kept = [
        f"{name.decode('latin-1')}: {value.decode('latin-1')}"
        for name, value in head.headers
        if name not in _OF_ONE_HOP and not name.startswith(b"proxy-")
    ]
    lines = [
        f"{head.method} {target} HTTP/1.{head.minor}",
        f"Host: {wanted.netloc.rpartition('@')[2]}",
        *kept,
        *([] if upstream is None else _login(upstream)),
        "Connection: close",
    ]
    return "\r\n".join(lines).encode("latin-1") + _END_OF_HEAD
