"""A file while it arrives: its bytes at their places, and beside them how far each segment is.

A file of several segments is fetched over several connections at once. After a kill at any moment every
byte that was written is known and is not fetched again: the mark of a segment moves after its bytes
were written, a block at a time.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import struct
from contextlib import suppress
from pathlib import Path
from threading import Lock

from ..errors import WeightsError
from .files import SourceFile

__all__ = ["BLOCK", "SEGMENT", "Part", "disk_problem", "is_full", "part_name", "segments_of"]

SEGMENT = 64 << 20
"""Bytes that one connection fetches in one go."""
BLOCK = 1 << 20
"""Bytes that are written at once, and the most of a segment that a kill can lose."""

_MARK = struct.Struct("<Q")


def part_name(file: SourceFile, origin: str) -> str:
    """Return what a file's part is called: by its contents, where they are known.

    Args:
        file: The file.
        origin: Where it comes from, for contents that are not known.
    """
    known = file.sha256 or file.blob_id
    told = hashlib.sha256(f"{origin}\n{file.name}\n{file.version}".encode()).hexdigest()
    return f"{known or told}.{file.size}"


def is_full(error: OSError) -> bool:
    """Return whether a disk, or one's share of it, has no room."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


def disk_problem(name: str, path: Path, error: OSError) -> str:
    """Return what to say when a file cannot be written."""
    if is_full(error):
        free = shutil.disk_usage(next(one for one in path.parents if one.is_dir())).free
        return (
            f"The disk is full: {name} cannot be written to {str(path.parent)!r}, which has "
            f"{free:,} bytes free. What has arrived is kept. Make room, then run the same command again."
        )
    return f"{name} cannot be written to {str(path.parent)!r}: {error.strerror}. What has arrived is kept."


def segments_of(size: int) -> int:
    """Return how many segments a file has; an empty file has one, of no bytes."""
    return max(-(-size // SEGMENT), 1)


class Part:
    """One file that is arriving. Its methods may be called by several threads at once.

    Args:
        folder: Where parts are.
        name: The part's name there; the same name resumes it.
        file: What it will be.
    """

    def __init__(self, folder: Path, name: str, file: SourceFile) -> None:
        self.file = file
        self._data_path = folder / f"{name}.data"
        self._marks_path = folder / f"{name}.marks"
        self._data = os.open(self._data_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._marks = os.open(self._marks_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.ftruncate(self._data, file.size)
        self._done = self._marked()
        self.resumed = sum(self._done)
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        self._hashed, self._lock = 0, Lock()

    @property
    def is_whole(self) -> bool:
        """Whether every byte has been written."""
        return sum(self._done) == self.file.size

    def missing(self, segment: int) -> tuple[int, int]:
        """Return where what a segment still needs begins and ends, as offsets in the file."""
        return segment * SEGMENT + self._done[segment], self._end(segment)

    def write(self, segment: int, data: memoryview) -> None:
        """Write the next bytes of a segment, and then say that they are there.

        Raises:
            WeightsError: The disk is full, or another problem of it.
        """
        offset, done = segment * SEGMENT + self._done[segment], self._done[segment] + len(data)
        try:
            _write_all(self._data, data, offset)
            os.pwrite(self._marks, _MARK.pack(done), segment * _MARK.size)
        except OSError as error:
            raise WeightsError(disk_problem(self.file.name, self._data_path, error)) from error
        self._done[segment] = done
        if self._lock.acquire(blocking=False):  # whoever hashes now reads it from the file instead
            try:
                if self._hashed == offset:
                    self._hash(data)
            finally:
                self._lock.release()

    def catch_up(self) -> None:
        """Hash what is there and was not hashed as it came: it came out of order, or before a kill."""
        buffer = memoryview(bytearray(BLOCK))
        with self._lock:
            while (ready := self._ready()) > self._hashed:
                got = os.preadv(self._data, [buffer[: ready - self._hashed]], self._hashed)
                if not got:
                    return
                self._hash(buffer[:got])

    def digests(self) -> tuple[str, str]:
        """Return the SHA-256 and git's name of the whole file."""
        self.catch_up()
        return self._sha256.hexdigest(), self._git.hexdigest()

    def keep(self, target: Path) -> None:
        """Make the whole file what it was fetched for."""
        self.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        self._data_path.replace(target)
        self._marks_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget what has arrived."""
        self.close()
        self._data_path.unlink(missing_ok=True)
        self._marks_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close its files; what has arrived stays."""
        for number in (self._data, self._marks):
            with suppress(OSError):
                os.close(number)
        self._data = self._marks = -1

    def _marked(self) -> list[int]:
        count = segments_of(self.file.size)
        stored = os.pread(self._marks, count * _MARK.size, 0)
        marks = [mark for (mark,) in _MARK.iter_unpack(stored[: len(stored) // 8 * 8])]
        marks += [0] * (count - len(marks))
        lengths = [self._end(number) - number * SEGMENT for number in range(count)]
        return [min(mark, length) for mark, length in zip(marks, lengths, strict=True)]

    def _end(self, segment: int) -> int:
        return min((segment + 1) * SEGMENT, self.file.size)

    def _ready(self) -> int:
        """Up to where every byte from the last hashed one on has been written."""
        at = self._hashed
        while at < self.file.size:
            segment = at // SEGMENT
            at = segment * SEGMENT + self._done[segment]
            if at < self._end(segment):
                break
        return at

    def _hash(self, data: memoryview) -> None:
        self._sha256.update(data)
        if self.file.sha256 is None and self.file.blob_id is not None:
            self._git.update(data)
        self._hashed += len(data)


def _write_all(number: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(number, data, offset)
        data, offset = data[written:], offset + written
