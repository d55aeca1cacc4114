"""How much padding pays: what a batch costs, learned, and the cheapest way to part a queue.

A batch of a model that pads takes a while whatever is in it, and a while by its padded length. Small
batches waste the first, batches of unlike lengths the second. Pure but for what `BatchCost` remembers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

__all__ = ["BatchCost", "cheapest_parts"]

_KEEPS = 0.99  # of an old batch's weight after each new one: about the last hundred count
# A machine that does other work too makes batches slower, never faster: those below the line count, the
# others hardly; and batches must not fall to pieces by noise alone.
_SLOWER = 0.1
_LEAST = 0.5
_LEARNED = 8.0  # the weight of batches that is enough to believe them
_ALIKE = 1e-6  # lengths that differ by less tell nothing
_FREE = 1e12  # padding that costs nothing beside what a batch costs anyway


class BatchCost:
    """What batches of one method cost: seconds = fixed + by_length * padded length, by least squares."""

    def __init__(self) -> None:
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)

    def learn(self, padded: int, seconds: float) -> None:
        """Note how long a batch of a padded length took."""
        line = self._line() if self._sums[0] >= _LEARNED / 2 else None
        known = 1.0 if line is None or seconds <= line[0] + line[1] * padded else _SLOWER
        new = (known * one for one in (1.0, padded, seconds, padded * padded, padded * seconds))
        weight, x, y, xx, xy = (
            _KEEPS * old + one for old, one in zip(self._sums, new, strict=True)
        )
        self._sums = (weight, x, y, xx, xy)

    def fixed(self, guess: float) -> float:
        """What a batch costs whatever is in it, as the padded length that costs as much.

        Args:
            guess: About the length of a request; what is returned while too little is known. Never
                less than half of it.
        """
        line = self._line()
        if line is None or self._sums[0] < _LEARNED:
            return guess
        fixed, by_length = line
        return max(_LEAST * guess, fixed / by_length) if by_length > 0 else _FREE

    def _line(self) -> tuple[float, float] | None:
        """Seconds of a batch of no length, and of each length more; None where none can be told."""
        weight, x, y, xx, xy = self._sums
        spread = weight * xx - x * x
        if spread <= _ALIKE * xx:
            return None
        by_length = max(0.0, (weight * xy - x * y) / spread)
        return (y - by_length * x) / weight, by_length


def cheapest_parts(
    lengths: Sequence[int], fixed: float, max_size: int, max_tokens: int | None = None
) -> list[int]:
    """Part ascending lengths into batches of neighbours at the least cost; where each begins.

    A batch from ``begin`` to ``end`` costs ``fixed + lengths[end - 1] * (end - begin)``. Once a later begin
    is no dearer than an earlier one it stays so, as lengths grow and as the limits rule the earlier one out.
    So each begin is best for one run of ends, and one pass over those runs finds all of them.

    Args:
        lengths: In ascending order.
        fixed: What each batch costs besides, in length.
        max_size: Most in a batch.
        max_tokens: Most padded length of a batch; what is longer goes alone.

    Examples:
        >>> cheapest_parts([8, 9, 10, 90, 92], fixed=20, max_size=8)
        [0, 3]
        >>> cheapest_parts([8, 9, 10, 90, 92], fixed=1000, max_size=8)
        [0]
    """
    cost, best = [0.0], [0]
    lasts = _last_ends(lengths, max_size, max_tokens)

    def takes_over(begin: int, later: int) -> int:
        """The first end that a later begin is best for."""
        longest = (cost[later] - cost[begin]) / (later - begin)
        return min(lasts[begin], bisect_left(lengths, longest, later)) + 1

    begins = deque([(0, 1)])  # each with the first end that it is best for
    for end, longest in enumerate(lengths, 1):
        while len(begins) > 1 and begins[1][1] <= end:
            begins.popleft()
        begin = begins[0][0]
        cost.append(fixed + cost[begin] + longest * (end - begin))
        best.append(begin)
        while (first := takes_over(begins[-1][0], end)) <= begins[-1][1]:
            begins.pop()
        begins.append((end, first))
    return _walked_back(best)


def _last_ends(lengths: Sequence[int], max_size: int, max_tokens: int | None) -> list[int]:
    """For each begin the last end that the limits allow; what is too long by itself goes alone."""
    lasts, end = [], 0
    for begin in range(len(lengths)):
        end = max(end, begin + 1)
        while (
            end < len(lengths)
            and end - begin < max_size
            and (max_tokens is None or lengths[end] * (end + 1 - begin) <= max_tokens)
        ):
            end += 1
        lasts.append(end)
    return lasts


def _walked_back(best: Sequence[int]) -> list[int]:
    end, begins = len(best) - 1, []
    while end > 0:
        end = best[end]
        begins.append(end)
    return begins[::-1]
