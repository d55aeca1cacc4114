"""What a program has printed, kept so that it can be read from any place, while it grows."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

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
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder))  # noqa: SIM115 - it lives as long as this
        self._size = 0
        self._ended = False
        self._grew = asyncio.Event()

    def write(self, data: bytes) -> None:
        """Add what the program printed."""
        self._file.seek(0, os.SEEK_END)
        self._file.write(data)
        self._size += len(data)
        self._wake()

    def end(self) -> None:
        """Say that nothing more will come."""
        self._ended = True
        self._wake()

    async def read(self, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield everything from ``offset`` on, until the end."""
        while True:
            grew, ended = self._grew, self._ended
            while offset < self._size:
                self._file.seek(offset)
                piece = self._file.read(_PIECE)
                offset += len(piece)
                yield piece
            if ended:
                return
            await grew.wait()

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

    def _wake(self) -> None:
        self._grew.set()
        self._grew = asyncio.Event()
