"""Files and their SHA-256, read in parallel: hashing does not hold Python's lock."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock

from .lockfile import LockedFile

__all__ = ["Progress", "hashed"]

Progress = Callable[[int, int], None]
"""Told the bytes read so far and the bytes in all, from any thread."""

_CHUNK = 1 << 20
_MOST_THREADS = 8


def hashed(
    folder: Path, names: Sequence[str], progress: Progress | None = None
) -> tuple[LockedFile, ...]:
    """Return some files of a folder with size and SHA-256, in the order asked.

    Raises:
        OSError: One cannot be read.
    """
    meter = _Meter(sum((folder / name).stat().st_size for name in names), progress)
    stop = Event()

    def hash_one(name: str) -> LockedFile:
        digest, size = hashlib.sha256(), 0
        with (folder / name).open("rb") as file:
            while not stop.is_set() and (chunk := file.read(_CHUNK)):
                digest.update(chunk)
                size += len(chunk)
                meter.add(len(chunk))
        return LockedFile(name=name, size=size, sha256=digest.hexdigest())

    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1), "hash") as pool:
        try:
            return tuple(pool.map(hash_one, names))
        except BaseException:  # Ctrl-C must not wait for gigabytes
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


class _Meter:
    """Counts bytes of several threads."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self._done, self._lock = 0, Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._progress is not None:
                self._progress(self._done, self._total)
