"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes, mode: int) -> None:
    """Replace a file at once: until the last moment, and after any failure, the old one stays.

    Args:
        path: The file; where it is a link, the file that it leads to.
        data: What it holds then.
        mode: Its permissions, such as ``0o644``.

    Raises:
        OSError: The folder cannot be written, or has no room.
    """
    target = path.resolve()
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
