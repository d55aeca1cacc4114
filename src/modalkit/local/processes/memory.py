"""How much memory a container takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["memory_below", "processes_below"]


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
