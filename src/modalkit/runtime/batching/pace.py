"""How long the next batch waits for company: what a queue learns of its model and its callers."""

from __future__ import annotations

import math

from ...declare.batches import Batch

__all__ = ["Pace"]

_NEW = 0.3  # the weight of the newest measurement
_FADES = 0.8  # what is left of an old crowd after each batch


class Pace:
    """Measurements of one queue, in seconds of ``time.monotonic()``.

    A batch need not wait longer than a batch takes: whoever missed it would be answered by the next
    one by then. And it need not wait for more callers than there were lately.

    Args:
        batch: The limits.

    Attributes:
        model_s: About how long a batch takes.
        free_since: When the model ended its last batch.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._full = min(batch.max_size, batch.queue_limit)
        self._most_s = batch.max_wait_ms / 1000
        self._company = 0.0
        self._prepare_s = 0.0
        self._started = -math.inf
        self.model_s = 0.0
        self.free_since = -math.inf

    @property
    def enough(self) -> int:
        """How many waiting requests leave without waiting for more."""
        if not self._batch.adaptive:
            return self._full
        return max(1, min(self._full, round(self._company)))

    def until(self, oldest: float, waiting: int, *, is_free: bool) -> float:
        """When those who wait should leave; what has passed already means now.

        Args:
            oldest: When the first of them came.
            waiting: How many they are.
            is_free: Whether the model is; else they are to be prepared for when it will be.
        """
        if waiting >= self._full or (is_free and waiting >= self.enough):
            return -math.inf
        if not is_free:
            return self._started + self.model_s - self._prepare_s
        if self._batch.adaptive:
            return self.free_since + min(self._most_s, self.model_s)
        # Whoever came to an idle model leaves at once.
        return oldest + self._most_s if oldest < self.free_since else -math.inf

    def company(self, here: int) -> None:
        """Note how many requests are waiting or under way as a batch leaves."""
        self._company = max(float(here), _FADES * self._company)

    def starts(self, now: float) -> None:
        """Note that a batch leaves."""
        self._started = max(now, self.free_since)

    def prepared(self, seconds: float) -> None:
        """Note how long a batch took to prepare."""
        self._prepare_s += _NEW * (seconds - self._prepare_s)

    def ends(self, now: float, seconds: float) -> None:
        """Note that a batch has ended, and how long it took."""
        self.model_s = (
            seconds if not self.model_s else self.model_s + _NEW * (seconds - self.model_s)
        )
        self.free_since = now
