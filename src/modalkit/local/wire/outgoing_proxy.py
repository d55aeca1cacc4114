"""The way out for containers with a network of their own: an HTTP proxy on this machine.

Such a container has nothing but loopback. Its variables name this proxy, which every usual HTTP
client honours; a proxy that this machine itself needs is passed on to.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from .allowlist import AllowList
from .splice import both_ways

__all__ = ["PROXY_PORT", "OutgoingProxy", "proxy_variables"]

PROXY_PORT = 3128
"""Where the proxy is found inside a container."""

_HEAD_LIMIT = 64 * 1024
_HTTP_PORT, _HTTPS_PORT = 80, 443


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
        server = await asyncio.start_server(self._handle, sock=sock, limit=_HEAD_LIMIT)
        try:
            yield
        finally:
            server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self._carry(head, reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # the program went away, or never spoke HTTP
        except PermissionError as error:
            await _refuse(writer, "403 Forbidden", error)
        except (OSError, ValueError) as error:
            await _refuse(writer, "502 Bad Gateway", error)
        finally:
            writer.close()

    async def _carry(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        connect = method == "CONNECT"
        wanted = urlsplit(f"https://{target}" if connect else target)
        upstream = _upstream(wanted.scheme)
        host = wanted.hostname or ""
        if self.allowed is not None:
            host = await self.allowed.address(host, _port(wanted))
        if upstream is not None:
            host = upstream.hostname or ""
        out_reader, out_writer = await asyncio.open_connection(host, _port(upstream or wanted))
        try:
            if upstream is not None:
                out_writer.write(_with_login(head, upstream))
            elif connect:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                out_writer.write(_to_origin(head, wanted))
            await both_ways(reader, writer, out_reader, out_writer)
        finally:
            out_writer.close()


async def _refuse(writer: asyncio.StreamWriter, status: str, error: Exception) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(f"HTTP/1.1 {status}\r\n\r\n{error}\n".encode())
        await writer.drain()


def _port(place: SplitResult) -> int:
    return place.port or (_HTTPS_PORT if place.scheme == "https" else _HTTP_PORT)


def _upstream(scheme: str) -> SplitResult | None:
    """Return the proxy that this machine itself uses, if it does."""
    name = f"{scheme}_proxy"
    url = os.environ.get(name) or os.environ.get(name.upper())
    return urlsplit(url) if url else None


def _with_login(head: bytes, upstream: SplitResult) -> bytes:
    if upstream.username is None:
        return head
    login = f"{unquote(upstream.username)}:{unquote(upstream.password or '')}"
    line = b"Proxy-Authorization: Basic " + base64.b64encode(login.encode()) + b"\r\n\r\n"
    return head[:-2] + line


def _to_origin(head: bytes, wanted: SplitResult) -> bytes:
    """Turn a proxy request into one for the server; one request a connection."""
    first, _, rest = head.partition(b"\r\n")
    method, _, version = first.decode("latin-1").split(" ", 2)
    path = (wanted.path or "/") + (f"?{wanted.query}" if wanted.query else "")
    lines = [line for line in rest.split(b"\r\n") if not line.lower().startswith(b"proxy-")]
    kept = [line for line in lines if line and not line.lower().startswith(b"connection:")]
    return (
        b"\r\n".join([f"{method} {path} {version}".encode(), *kept, b"Connection: close"])
        + b"\r\n\r\n"
    )
