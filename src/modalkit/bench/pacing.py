"""When the requests of an open loop are sent, to a tenth of a millisecond.

A thread sleeps until then, because the event loop's own timers are good to a millisecond only.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

__all__ = ["Pacer"]

_LOOK_S = 0.2  # how long it sleeps at most before it looks whether it shall end


class Pacer:
    """Calls a function in the event loop at given moments, each with the moment that was meant.

    Args:
        moments: Seconds from the start, in order.
        fire: Called with the clock's time (``time.perf_counter``) at which each was due.
    """

    def __init__(self, moments: Iterator[float], fire: Callable[[float], None]) -> None:
        self._moments = moments
        self._fire = fire
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)

    def start(self) -> None:
        """Begin; the first moment counts from now."""
        self._thread.start()

    def end(self) -> None:
        """Call nothing more."""
        self._ended.set()

    def _run(self) -> None:
        began = time.perf_counter()
        for moment in self._moments:
            due = began + moment
            while (left := due - time.perf_counter()) > 0:
                time.sleep(min(left, _LOOK_S))
                if self._ended.is_set():
                    return
            if self._ended.is_set() or self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(self._due, due)

    def _due(self, due: float) -> None:
        if not self._ended.is_set():
            self._fire(due)
