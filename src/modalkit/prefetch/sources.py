"""What weights can be read from: anything that lists its files and gives a range of one."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ..errors import HubError, WeightsError
from .files import SourceFile

__all__ = ["FolderSource", "Readable", "Source", "read_json"]


class Readable(Protocol):
    """The bytes of a range, in order."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill a buffer as far as bytes are there; 0 at the end of the range."""


class Source(Protocol):
    """A place that has the files of one model."""

    @property
    def origin(self) -> str:
        """Where it is, for messages."""

    @property
    def commit(self) -> str | None:
        """The commit its files are of; None where there are no commits."""

    def files(self) -> tuple[SourceFile, ...]:
        """List every file.

        Raises:
            HubError: The source does not answer as it should.
        """

    def open(self, file: SourceFile, start: int, stop: int) -> AbstractContextManager[Readable]:
        """Open a range of a file.

        Args:
            file: One of its files.
            start: First byte.
            stop: One past the last byte.

        Raises:
            HubError: The source does not give it, after what was tried again.
        """

    def release(self) -> None:
        """Close what this thread has open; it will not read on."""


def read_json(source: Source, file: SourceFile) -> object:
    """Read a small JSON file of a source.

    Raises:
        HubError: It does not read as JSON, or the source does not give it.
    """
    content = bytearray(file.size)
    view, done = memoryview(content), 0
    with source.open(file, 0, file.size) as stream:
        while done < file.size and (got := stream.readinto(view[done:])):
            done += got
    try:
        return json.loads(content)
    except ValueError as error:
        msg = f"{file.name} of the model does not read as JSON: {error}. It has not arrived whole; run this again."
        raise HubError(msg) from error


class FolderSource:
    """A folder that is there: of this machine, of another Volume, or a bucket's mount.

    Args:
        folder: Where its files are.
        origin: What messages call it.
    """

    commit: str | None = None

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder, self.origin = folder, origin

    def files(self) -> tuple[SourceFile, ...]:
        """List every file below it.

        Raises:
            HubError: The folder is not there or holds nothing.
        """
        found = tuple(
            self._described(path) for path in sorted(self._folder.rglob("*")) if path.is_file()
        )
        if not found:
            msg = f"{self.origin} holds no files. Check its name and path, and that its credentials may list it."
            raise HubError(msg)
        return found

    def open(self, file: SourceFile, start: int, stop: int) -> AbstractContextManager[Readable]:
        """Open a range of one of its files.

        Raises:
            WeightsError: It cannot be read.
        """
        return _FileRange(self._folder / file.name, start, stop)

    def release(self) -> None:
        """Nothing is open between two ranges."""

    def _described(self, path: Path) -> SourceFile:
        about = path.stat()
        name = str(path.relative_to(self._folder))
        return SourceFile(name, about.st_size, version=str(about.st_mtime_ns))


class _FileRange(AbstractContextManager["_FileRange"]):
    """A range of a file on a file system."""

    def __init__(self, path: Path, start: int, stop: int) -> None:
        self._path, self._at, self._stop = path, start, stop
        try:
            self._number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise WeightsError(self._problem(error)) from error

    def __exit__(self, *_exception: object) -> None:
        os.close(self._number)

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer; 0 at the end of the range."""
        try:
            got = os.preadv(self._number, [buffer[: self._stop - self._at]], self._at)
        except OSError as error:
            raise WeightsError(self._problem(error)) from error
        self._at += got
        return got

    def _problem(self, error: OSError) -> str:
        return f"{str(self._path)!r} cannot be read: {error.strerror}. What has arrived is kept; run this again."
