"""Waking whoever waits: for the next change, or for what happens once.

What is here holds nothing while nobody waits. An `asyncio.Event` takes most of a kibibyte, and a
plane keeps thousands of finished calls and a hundred ended sandboxes.
"""

from __future__ import annotations

import asyncio

__all__ = ["Bell", "Latch"]


class Bell:
    """Rings once for everybody who waits at that moment."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next: asyncio.Event | None = None

    def ring(self) -> None:
        """Wake everybody."""
        if self._next is not None:
            self._next.set()
            self._next = None

    def next(self) -> asyncio.Event:
        """Return what is set when it rings next; take it before looking at what may change."""
        if self._next is None:
            self._next = asyncio.Event()
        return self._next


class Latch:
    """Falls once; whoever waits goes on then, and whoever comes later need not wait."""

    __slots__ = ("_bell", "_fallen")

    def __init__(self) -> None:
        self._fallen = False
        self._bell = Bell()

    def is_set(self) -> bool:
        """Whether it has fallen."""
        return self._fallen

    def set(self) -> None:
        """Let it fall; again is fine."""
        self._fallen = True
        self._bell.ring()

    async def wait(self) -> None:
        """Wait until it has fallen."""
        if not self._fallen:
            await self._bell.next().wait()
