"""``@app.server``: connections to a stable local URL, carried to a replica byte by byte.

Nothing between the client and the server parses the stream after the first request's head, so
streaming, WebSockets and HTTP/2 pass as they are.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from .auth import ProxyAuth
from .containers import Container
from .functions import FunctionEntry
from .servers import ServerPool
from .streams import both_ways

__all__ = ["ServerEndpoint"]

_HEAD_LIMIT = 64 * 1024


@dataclass(eq=False)
class ServerEndpoint:
    """The URL of one server."""

    function: FunctionEntry
    auth: ProxyAuth
    sock: socket.socket
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.sock.getsockname()[1]}"

    async def open(self) -> None:
        """Start listening."""
        self._server = await asyncio.start_server(self._handle, sock=self.sock, limit=_HEAD_LIMIT)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if refusal := self._refusal(head):
                await _answer(writer, *refusal)
                return
            await self._carry(head, reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # the client went away, or never spoke HTTP
        finally:
            writer.close()

    def _refusal(self, head: bytes) -> tuple[str, str] | None:
        settings = self.function.definition.http_config
        if not settings.unauthenticated and (reason := self.auth.refusal(_headers(head))):
            return "401 Unauthorized", reason
        return None

    async def _carry(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        pool = self.function.any_pool
        if not isinstance(pool, ServerPool):
            return
        pool.wake()
        for replica in pool.replicas:
            try:
                inside_reader, inside_writer = await self._connect(replica)
            except OSError:
                continue
            pool.connected(replica)
            try:
                inside_writer.write(head)
                await both_ways(reader, writer, inside_reader, inside_writer)
            finally:
                pool.disconnected(replica)
                inside_writer.close()
            return
        reason = pool.last_failure or f"{self.function.name} is starting; try again in a moment."
        await _answer(writer, "503 Service Unavailable", reason)

    async def _connect(
        self, replica: Container
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = self.function.definition.http_config.port
        if replica.doorway is None:
            return await asyncio.open_connection("127.0.0.1", port)
        return await asyncio.open_connection(sock=await replica.doorway.connect(port))


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return [(name.strip(), value.strip()) for name, _, value in pairs]


async def _answer(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
