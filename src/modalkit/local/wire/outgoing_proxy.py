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
from urllib.parse import SplitResult, unquote, urlsplit

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


class OutgoingProxy:
    """Serves CONNECT and plain HTTP requests on sockets inside containers' networks."""

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
        except (OSError, ValueError) as error:
            with contextlib.suppress(ConnectionError):
                writer.write(f"HTTP/1.1 502 Bad Gateway\r\n\r\n{error}".encode())
                await writer.drain()
        finally:
            writer.close()

    @staticmethod
    async def _carry(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        connect = method == "CONNECT"
        wanted = urlsplit(f"https://{target}" if connect else target)
        upstream = _upstream(wanted.scheme)
        place = upstream or wanted
        port = place.port or (_HTTPS_PORT if place.scheme == "https" else _HTTP_PORT)
        out_reader, out_writer = await asyncio.open_connection(place.hostname, port)
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
