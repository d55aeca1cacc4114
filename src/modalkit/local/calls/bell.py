"""Waking whoever waits for the next change."""

from __future__ import annotations

import asyncio

__all__ = ["Bell"]


class Bell:
    """Rings once for everybody who waits at that moment.

    While nobody waits it holds nothing: an `asyncio.Event` takes most of a kibibyte, and a plane
    keeps thousands of finished calls.
    """

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
