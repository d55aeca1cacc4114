"""Copying bytes between two connections, both ways, as they come."""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["both_ways", "one_way"]

_PIECE = 64 * 1024


async def both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    inside_reader: asyncio.StreamReader,
    inside_writer: asyncio.StreamWriter,
) -> None:
    """Copy until the inside is done, or the outside is and the inside has nothing left to say."""
    inward = asyncio.create_task(one_way(reader, inside_writer))
    try:
        await one_way(inside_reader, writer)
    finally:
        inward.cancel()


async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until there is nothing more, and say so where that is possible."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_PIECE):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        if writer.can_write_eof():  # TLS cannot end one direction alone
            writer.write_eof()
