"""Fetching files over several connections at once into the blobs of a cache, each verified first."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Event, Lock, Thread

from ..errors import WeightsError
from .files import SourceFile
from .parts import BLOCK, Part, part_name, segments_of
from .progress import Meter
from .sources import Readable, Source
from .verified import Verified

__all__ = ["CONNECTIONS", "Fetching"]

CONNECTIONS = 8
_LOOK_S = 0.25
_END_S = 3.0


class Fetching:
    """The threads that fetch some files.

    Args:
        source: Where from.
        files: What to fetch.
        verified: Where it goes.
        locked: The SHA-256 that the lock has for a file, by its name.
        meter: Counts what arrives.
        connections: Ranges that are fetched at once.
    """

    def __init__(
        self,
        source: Source,
        files: Iterable[SourceFile],
        *,
        verified: Verified,
        locked: Mapping[str, str],
        meter: Meter,
        connections: int = CONNECTIONS,
    ) -> None:
        self._source, self._verified, self._locked = source, verified, locked
        self._meter, self._connections = meter, connections
        self._stop = Event()
        self._lock = Lock()
        self._upcoming = deque(files)
        self._arriving: list[_Arriving] = []
        self._todo: deque[tuple[_Arriving, int]] = deque()
        self._error: BaseException | None = None

    def run(self) -> Iterator[None]:
        """Fetch everything, stopping four times a second for the caller to tell how far it is.

        Raises:
            ModalkitError: What went wrong first; what has arrived is kept.
        """
        threads = [
            Thread(target=self._work, name=f"fetch-{number}", daemon=True)
            for number in range(self._connections)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(_LOOK_S)
                    yield
        finally:
            self._end(threads)
        if self._error is not None:
            raise self._error

    def _end(self, threads: Iterable[Thread]) -> None:
        """Let go of everything; a thread that waits for a server is not waited for."""
        self._stop.set()
        until = time.monotonic() + _END_S
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0.0))
        if not any(thread.is_alive() for thread in threads):
            for arriving in self._arriving:
                arriving.part.close()

    def _work(self) -> None:
        try:
            while not self._stop.is_set() and (task := self._next()) is not None:
                self._fetch(*task)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            with self._lock:
                self._error = self._error or error
            self._stop.set()
        finally:
            self._source.release()

    def _next(self) -> tuple[_Arriving, int] | None:
        """The next segment, in the order of the files, so that few of them are open at once."""
        with self._lock:
            while not self._todo and self._upcoming:
                file = self._upcoming.popleft()
                arriving = _Arriving(file, self._verified.parts, self._source.origin)
                self._arriving.append(arriving)
                self._meter.keep(arriving.part.resumed)
                self._todo.extend((arriving, number) for number in arriving.segments)
            return self._todo.popleft() if self._todo else None

    def _fetch(self, arriving: _Arriving, segment: int) -> None:
        part = arriving.part
        self._fill(part, segment)
        part.catch_up()
        with self._lock:
            arriving.open_segments -= 1
            is_last = not arriving.open_segments
        if is_last and part.is_whole:
            self._finish(part)

    def _fill(self, part: Part, segment: int) -> None:
        start, end = part.missing(segment)
        if start == end:
            return
        buffer = memoryview(bytearray(min(BLOCK, end - start)))
        with self._source.open(part.file, start, end) as stream:
            while start < end and not self._stop.is_set():
                block = buffer[: _read_into(stream, buffer[: end - start])]
                if not block:
                    msg = f"{part.file.name} from {self._source.origin} ended early: it has changed. Run this again."
                    raise WeightsError(msg)
                part.write(segment, block)
                self._meter.fetch(len(block))
                start += len(block)

    def _finish(self, part: Part) -> None:
        """Verify a file that has arrived whole, and make it one of the cache's."""
        file = part.file
        sha256, blob_id = part.digests()
        problem = self._mismatch(file, sha256, blob_id)
        if problem is None:
            self._verified.keep(part, sha256)
            self._meter.finish_file()
            return
        part.discard()
        if not part.resumed:
            raise WeightsError(problem)
        # What an earlier run left may be the half of two that ran at once; a whole file is asked for.
        self._meter.lose(file.size)
        with self._lock:
            self._upcoming.append(file)

    def _mismatch(self, file: SourceFile, sha256: str, blob_id: str) -> str | None:
        locked = self._locked.get(file.name)
        where = f"{file.name} from {self._source.origin}"
        if locked is not None and sha256 != locked:
            return (
                f"{where} has SHA-256 {sha256}, locked is {locked}. It was thrown away. Run this again; if it "
                "stays so, the file has changed: modalkit lock FILE --upgrade."
            )
        if file.sha256 is not None and sha256 != file.sha256:
            return f"{where} arrived with SHA-256 {sha256} instead of {file.sha256}. It was thrown away. {_AGAIN}"
        if file.sha256 is None and file.blob_id not in {None, blob_id}:
            return f"{where} arrived as {blob_id} instead of {file.blob_id}. It was thrown away. {_AGAIN}"
        return None


_AGAIN = "Run this again; if it stays so, something between here and there changes what it sends."


class _Arriving:
    """A file some of whose segments are on their way."""

    def __init__(self, file: SourceFile, parts: Path, origin: str) -> None:
        self.part = Part(parts, part_name(file, origin), file)
        self.segments = range(segments_of(file.size))
        self.open_segments = len(self.segments)


def _read_into(stream: Readable, buffer: memoryview) -> int:
    """Fill a buffer, unless the stream ends first."""
    filled = 0
    while filled < len(buffer) and (got := stream.readinto(buffer[filled:])):
        filled += got
    return filled
