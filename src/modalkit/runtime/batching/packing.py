"""Which of the waiting requests leave together. Pure: keys, lengths and costs in, places out.

The oldest always leaves, so nobody waits for ever. With it go those of its key, in their order; where
lengths count, those whose lengths are nearest to its own, or with whom all of them cost least.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

from ...declare.batches import Batch
from .padding import BatchCost, cheapest_parts

__all__ = ["Measured", "Measures", "pack"]


class Measured(Protocol):
    """What packing looks at."""

    key: Hashable
    length: int


class Measures(NamedTuple):
    """How one request is looked at.

    Attributes:
        key: What requests of one batch have in common.
        length: How long a request is; 0 where that does not count.
    """

    key: Callable[[Any], Hashable]
    length: Callable[[Any], int]

    @classmethod
    def of(cls, batch: Batch) -> Measures | None:
        """The measures that a batch declares; None where any requests go together."""
        counts = batch.max_tokens is not None or batch.pad is not None
        if batch.by is None and not counts:
            return None
        key = _getter(batch.by) if batch.by is not None else _no_key
        return cls(key, _length(batch.length) if counts else _no_length)


def pack(waiting: Sequence[Measured], batch: Batch, cost: BatchCost | None = None) -> list[int]:
    """Return the places of those that leave together, in order of arrival; the first is one of them.

    Args:
        waiting: Requests in order of arrival, at least one.
        batch: The limits.
        cost: What batches have cost, for ``pad="auto"``. Default: nothing is known yet.

    Examples:
        >>> from types import SimpleNamespace as One
        >>> lengths = [One(key=None, length=length) for length in (9, 90, 10, 100, 8)]
        >>> pack(lengths, Batch(4, pad=0.2))
        [0, 2, 4]
        >>> pack(lengths, Batch(4, max_tokens=120))
        [0, 1, 2, 4]
    """
    key = waiting[0].key
    alike = (place for place, one in enumerate(waiting) if one.key == key)
    if batch.pad == "auto":
        return sorted(_cheapest(waiting, list(alike), batch, cost or BatchCost()))
    if batch.pad is not None:
        return sorted(_near(waiting, list(alike), batch))
    if batch.max_tokens is not None:
        return _within(waiting, alike, batch)
    return list(islice(alike, batch.max_size))


def _within(waiting: Sequence[Measured], alike: Any, batch: Batch) -> list[int]:
    """As many as fit into the total length, the oldest first; one too long for the rest is passed by."""
    assert batch.max_tokens is not None  # noqa: S101 - the caller has looked
    chosen: list[int] = []
    total = 0
    for place in alike:
        length = waiting[place].length
        if chosen and total + length > batch.max_tokens:
            continue
        chosen.append(place)
        total += length
        if len(chosen) == batch.max_size:
            break
    return chosen


def _cheapest(
    waiting: Sequence[Measured], alike: list[int], batch: Batch, cost: BatchCost
) -> list[int]:
    """Of the cheapest parts of all that are alike, the one that the oldest is in."""
    by_length = sorted(alike, key=lambda place: waiting[place].length)
    lengths = [waiting[place].length for place in by_length]
    fixed = cost.fixed(guess=sum(lengths) / len(lengths))
    begins = cheapest_parts(lengths, fixed, batch.max_size, batch.max_tokens)
    part = bisect_right(begins, by_length.index(0))
    end = begins[part] if part < len(begins) else len(lengths)
    return by_length[begins[part - 1] : end]


def _near(waiting: Sequence[Measured], alike: list[int], batch: Batch) -> list[int]:
    """Grow from the oldest over its neighbours in length, while size, total and padding allow."""
    by_length = sorted(alike, key=lambda place: waiting[place].length)
    lengths = [waiting[place].length for place in by_length]
    low = high = by_length.index(0)
    total = lengths[low]
    while high - low + 1 < batch.max_size:
        shorter = lengths[low] - lengths[low - 1] if low > 0 else None
        longer = lengths[high + 1] - lengths[high] if high + 1 < len(lengths) else None
        sides = [step for step in (_side(shorter, -1), _side(longer, 1)) if step is not None]
        for _, side in sorted(sides):
            first, last = (low - 1, high) if side < 0 else (low, high + 1)
            added = lengths[first] if side < 0 else lengths[last]
            if _allowed(lengths[last], last - first + 1, total + added, batch):
                low, high, total = first, last, total + added
                break
        else:
            break
    return by_length[low : high + 1]


def _side(gap: int | None, side: int) -> tuple[int, int] | None:
    return None if gap is None else (gap, side)


def _allowed(longest: int, count: int, total: int, batch: Batch) -> bool:
    padded = longest * count
    if batch.max_tokens is not None and padded > batch.max_tokens:
        return False
    return not isinstance(batch.pad, float) or padded - total <= batch.pad * padded


def _no_key(_: Any) -> Hashable:
    return None


def _no_length(_: Any) -> int:
    return 0


def _getter(given: str | Callable[..., Any]) -> Callable[[Any], Any]:
    if not isinstance(given, str):
        return given
    name = given

    def field(request: Any) -> Any:
        return request[name] if isinstance(request, Mapping) else getattr(request, name)

    return field


def _length(given: str | Callable[..., object] | None) -> Callable[[Any], int]:
    measured = len if given is None else _getter(given)

    def length(request: Any) -> int:
        value = measured(request)
        return value if isinstance(value, int) else len(value)

    return length
