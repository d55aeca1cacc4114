"""Copying bytes between two connections, both ways, as they come."""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["both_ways"]

_PIECE = 64 * 1024


async def both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    inside_reader: asyncio.StreamReader,
    inside_writer: asyncio.StreamWriter,
) -> None:
    """Copy until the inside is done, or the outside is and the inside has nothing left to say."""
    inward = asyncio.create_task(_copy(reader, inside_writer))
    try:
        await _copy(inside_reader, writer)
    finally:
        inward.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_PIECE):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        if writer.can_write_eof():  # TLS cannot end one direction alone
            writer.write_eof()
