"""The files of a model folder with their hashes."""

from __future__ import annotations

from pathlib import Path

from ..errors import LockError
from ..lock import LockedFile
from ..lock.hashing import Progress, hashed

__all__ = ["folder_files"]


def folder_files(folder: Path, progress: Progress | None = None) -> tuple[LockedFile, ...]:
    """Return every file of a folder, sorted by name, hidden ones left out.

    Raises:
        LockError: There is no such folder, or a file cannot be read.
    """
    if not folder.is_dir():
        msg = f"The model folder {str(folder)!r} does not exist. Write a folder beside the file."
        raise LockError(msg)
    try:
        names = [
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        ]
        return hashed(folder, sorted(filter(_is_shown, names)), progress)
    except OSError as error:
        msg = f"{error.filename!r} cannot be read: {error.strerror}."
        raise LockError(msg) from error


def _is_shown(name: str) -> bool:
    return not any(part.startswith(".") for part in name.split("/"))
