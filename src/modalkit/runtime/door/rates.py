"""How often a key may call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

__all__ = ["Rates"]


class Rates:
    """One bucket of requests a key, which fills steadily and holds a minute's worth.

    Args:
        per_minute: Requests a key may make in a minute.
        clock: Seconds that never go back.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # key: requests left, and when

    def wait_s(self, key: str) -> int:
        """Take a request out of a key's bucket; 0, or the seconds until there is one."""
        now = self._clock()
        left, seen = self._buckets.get(key, (self._most, now))
        left = min(self._most, left + (now - seen) * self._per_second)
        if left < 1:
            self._buckets[key] = (left, now)
            return max(1, math.ceil((1 - left) / self._per_second))
        self._buckets[key] = (left - 1, now)
        return 0
