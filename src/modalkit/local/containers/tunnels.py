"""Ports of this machine that lead to a port in a container."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from ..wire.splice import both_ways
from .container import Container

__all__ = ["connect", "tunnel"]


@contextlib.asynccontextmanager
async def tunnel(
    container: Container, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Lead a port of this machine into a container; yield its number.

    With ``tls`` the way to this machine's port is encrypted, and the port inside gets what was sent.
    """

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        container.connections += 1
        try:
            inner = await connect(container, port)
            await both_ways(reader, writer, *inner)
            inner[1].close()
        except OSError:
            pass  # nothing listens there (yet), or it went away
        finally:
            container.connections -= 1
            writer.close()

    async with await asyncio.start_server(carry, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


async def connect(
    container: Container, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a port inside a container.

    Raises:
        OSError: Nothing listens there.
    """
    if container.doorway is None:
        return await asyncio.open_connection("127.0.0.1", port)
    return await asyncio.open_connection(sock=await container.doorway.connect(port))
