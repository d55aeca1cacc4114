"""How much memory a container takes; and the plane's own, given back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["keep_small", "memory_below", "processes_below"]

_GIVE_BACK_EVERY_S = 60.0


async def keep_small() -> None:
    """Give memory that was freed back to the system, for ever.

    glibc keeps it for each thread that ever freed some: megabytes, in a plane that runs for days.
    """
    while True:
        await asyncio.sleep(_GIVE_BACK_EVERY_S)
        _give_back()


def _give_back() -> None:
    import ctypes  # noqa: PLC0415 - not wanted in the first minute

    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def memory_below(pid: int) -> int:
    """Return the bytes of memory that a process and its descendants take.

    Pages that several processes share count by each one's share of them (PSS). 0 where the system
    does not tell.
    """
    return sum(_proportional(each) for each in processes_below(pid))


def processes_below(pid: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:
            continue  # it ended meanwhile
        for child in found:
            yield from processes_below(int(child))


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
