"""A lock that planes share through a file; the kernel lets go of it when its holder dies."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["file_lock"]

_EVERY_S = 0.1


@asynccontextmanager
async def file_lock(path: Path) -> AsyncGenerator[None, None]:
    """Hold a file's lock; wait for it as long as it takes."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_EVERY_S)
        yield
