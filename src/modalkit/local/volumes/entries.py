"""How a client is told of a file: its path, kind, size and time."""

from __future__ import annotations

import stat
from pathlib import Path

from ..protocol import api

__all__ = ["file_entry"]


def file_entry(path: str, file: Path) -> api.FileEntry:
    """Describe a file, folder or link under the path that a client knows it by."""
    status = file.lstat()
    kinds = api.FileEntry.FileType
    kind = {
        stat.S_IFDIR: kinds.DIRECTORY,
        stat.S_IFLNK: kinds.SYMLINK,
        stat.S_IFIFO: kinds.FIFO,
        stat.S_IFSOCK: kinds.SOCKET,
    }.get(stat.S_IFMT(status.st_mode), kinds.FILE)
    size = status.st_size if kind == kinds.FILE else 0
    return api.FileEntry(path=path, type=kind, mtime=int(status.st_mtime), size=size)
