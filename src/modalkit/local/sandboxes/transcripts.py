"""What a program has printed, kept so that it can be read from any place, while it grows."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import IO

from ..waiting import Bell

__all__ = ["Transcript"]

_PIECE = 256 * 1024
# Most commands say little. A file for each stream of each would be a descriptor that stays open.
_IN_MEMORY = 32 * 1024


class Transcript:
    """One output stream of one program.

    Args:
        folder: Where its file is, if it grows so long that it needs one; the file has no name and
            ends with this object.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._start = bytearray()  # everything, until it is long enough for a file
        self._file: IO[bytes] | None = None
        self._size = 0
        self._ended = False
        self._bell = Bell()

    @property
    def size(self) -> int:
        """How many bytes there are so far."""
        return self._size

    def write(self, data: bytes) -> None:
        """Add what the program printed."""
        if self._file is None and self._size + len(data) > _IN_MEMORY:
            self._file = tempfile.TemporaryFile(dir=str(self._folder))  # noqa: SIM115 - it lives as long as this
            self._file.write(self._start)
            self._start.clear()
        if self._file is None:
            self._start += data
        else:
            self._file.seek(0, os.SEEK_END)
            self._file.write(data)
        self._size += len(data)
        self._bell.ring()

    def end(self) -> None:
        """Say that nothing more will come."""
        self._ended = True
        self._bell.ring()

    async def read(self, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield everything from ``offset`` on, until the end."""
        while True:
            changed, ended = self._bell.next(), self._ended
            while offset < self._size:
                piece = self._piece(offset)
                offset += len(piece)
                yield piece
            if ended:
                return
            await changed.wait()

    async def copy(self, stream: asyncio.StreamReader) -> None:
        """Write down what comes from a stream, to its end."""
        try:
            while data := await stream.read(_PIECE):
                self.write(data)
        except OSError as error:
            if error.errno != errno.EIO:  # how a terminal ends that nobody sits at any more
                raise
        finally:
            self.end()

    def _piece(self, offset: int) -> bytes:
        if self._file is None:
            return bytes(self._start[offset:])
        self._file.seek(offset)
        return self._file.read(_PIECE)
