"""The files of a model folder with their hashes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from ..errors import LockError
from ..lock import LockedFile

__all__ = ["folder_files", "hashed"]

Progress = Callable[[int, int], None]  # bytes read so far, bytes in all

_CHUNK = 1 << 20
_MOST_THREADS = 8


def folder_files(folder: Path, progress: Progress | None = None) -> tuple[LockedFile, ...]:
    """Return every file of a folder, sorted by name, hidden ones left out.

    Files are read in parallel; hashing does not hold Python's lock.

    Raises:
        LockError: There is no such folder, or a file cannot be read.
    """
    if not folder.is_dir():
        msg = f"The model folder {str(folder)!r} does not exist. Write a folder beside the file."
        raise LockError(msg)
    names = sorted(
        str(path.relative_to(folder).as_posix())
        for path in folder.rglob("*")
        if _counts(path, folder)
    )
    try:
        return hashed(folder, names, progress)
    except OSError as error:
        msg = f"{error.filename!r} cannot be read: {error.strerror}."
        raise LockError(msg) from error


def hashed(
    folder: Path, names: list[str], progress: Progress | None = None
) -> tuple[LockedFile, ...]:
    """Return some files of a folder with size and SHA-256.

    Raises:
        OSError: One cannot be read.
    """
    total = sum((folder / name).stat().st_size for name in names)
    done, stop = [0], Event()

    def hash_one(name: str) -> LockedFile:
        digest, size = hashlib.sha256(), 0
        with (folder / name).open("rb") as file:
            while not stop.is_set() and (chunk := file.read(_CHUNK)):
                digest.update(chunk)
                size += len(chunk)
                done[0] += len(chunk)
                if progress is not None:
                    progress(done[0], total)
        return LockedFile(name=name, size=size, sha256=digest.hexdigest())

    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, "hash") as pool:
        try:
            return tuple(pool.map(hash_one, names))
        except BaseException:  # Ctrl-C must not wait for gigabytes
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _counts(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.is_file() and not hidden
