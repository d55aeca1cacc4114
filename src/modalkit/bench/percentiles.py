"""Percentiles, and how sure they are.

A percentile of ``n`` independent samples lies between two of the sorted samples whose ranks a binomial
distribution gives, whatever the samples' own distribution is; where there are too few samples there is no
upper end. Gaps between tokens are not independent: those of one answer resemble each other. Their number
is divided by the design effect, what that resemblance costs (Woodruff's interval with clusters).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from .._values import Value

__all__ = ["Distribution", "Estimate", "distribution", "mean_estimate", "quantile", "shape"]

_TAIL = 0.025  # on each side: 95 % together
_Z = 1.959964
_EXACT = 2000  # samples above which a normal curve stands for the binomial
# Student's t at 97.5 %, by degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179)
_STEPS = 100


class Estimate(Value):
    """A figure with its 95 % confidence interval.

    Attributes:
        value: The figure.
        low: The lower end; None if there are too few samples for one.
        high: The upper end, likewise.
    """

    value: float
    low: float | None = None
    high: float | None = None


class Distribution(Value):
    """How something was distributed, in milliseconds.

    Attributes:
        count: Samples.
        mean: Their mean.
        least: The smallest.
        most: The largest.
        p50: The median.
        p90: 90 % are not above it.
        p95: 95 % are not above it.
        p99: 99 % are not above it.
        shape: The 0th to the 100th percentile in steps of one, for drawing.
    """

    count: int
    mean: float
    least: float
    most: float
    p50: Estimate
    p90: Estimate
    p95: Estimate
    p99: Estimate
    shape: tuple[float, ...]


def distribution(groups: Sequence[Sequence[float]]) -> Distribution | None:
    """Describe samples that come in groups; None without any.

    Args:
        groups: Samples that resemble each other are in one group; independent ones each in their own.
    """
    ordered = sorted(sample for group in groups for sample in group)
    if not ordered:
        return None
    together = len(groups) < len(ordered)
    p50, p90, p95, p99 = (
        _estimate(ordered, share, groups if together else ()) for share in (0.5, 0.9, 0.95, 0.99)
    )
    return Distribution(
        count=len(ordered),
        mean=_rounded(math.fsum(ordered) / len(ordered)),
        least=_rounded(ordered[0]),
        most=_rounded(ordered[-1]),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        shape=shape(ordered),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return a percentile of sorted samples, between two of them where it falls there.

    Examples:
        >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
        2.5
    """
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def shape(ordered: Sequence[float]) -> tuple[float, ...]:
    """Return the 0th to the 100th percentile of sorted samples."""
    return tuple(_rounded(quantile(ordered, step / _STEPS)) for step in range(_STEPS + 1))


def mean_estimate(parts: Sequence[float]) -> Estimate:
    """Return the mean of equal parts of a time, sure as far as the parts agree (Student's t)."""
    mean = math.fsum(parts) / len(parts)
    if len(parts) <= 1:
        return Estimate(value=_rounded(mean))
    variance = math.fsum((part - mean) ** 2 for part in parts) / (len(parts) - 1)
    freedom = len(parts) - 2
    wide = (_T[freedom] if freedom < len(_T) else _Z) * math.sqrt(variance / len(parts))
    return Estimate(
        value=_rounded(mean), low=_rounded(max(0.0, mean - wide)), high=_rounded(mean + wide)
    )


def _estimate(
    ordered: Sequence[float], share: float, groups: Sequence[Sequence[float]]
) -> Estimate:
    value = quantile(ordered, share)
    count = len(ordered)
    if groups:
        count = max(1, round(count / _design_effect(groups, value, share, count)))
    low, high = _ranks(count, share)
    scale = len(ordered) / count
    return Estimate(
        value=_rounded(value),
        low=None if low is None else _rounded(min(value, ordered[_index(low, scale, ordered)])),
        high=None if high is None else _rounded(max(value, ordered[_index(high, scale, ordered)])),
    )


def _index(rank: int, scale: float, ordered: Sequence[float]) -> int:
    return min(max(math.ceil(rank * scale) - 1, 0), len(ordered) - 1)


def _ranks(count: int, share: float) -> tuple[int | None, int | None]:
    """The ranks, from 1, between which a percentile lies in 95 of 100 cases."""
    if count > _EXACT:
        wide = _Z * math.sqrt(count * share * (1 - share))
        low, high = math.floor(count * share - wide), math.ceil(count * share + wide) + 1
        return (low if low >= 1 else None), (high if high <= count else None)
    below = 0.0
    low_rank: int | None = None
    for rank in range(count + 1):  # `below`: the chance that fewer than `rank` samples are under it
        if below <= _TAIL:
            low_rank = rank
        if below >= 1 - _TAIL:
            return low_rank or None, rank
        below += _binomial(count, rank, share)
    return low_rank or None, None


def _binomial(count: int, hits: int, share: float) -> float:
    choose = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return math.exp(choose + hits * math.log(share) + (count - hits) * math.log1p(-share))


def _design_effect(
    groups: Sequence[Sequence[float]], value: float, share: float, count: int
) -> float:
    """How many times more the share below a value varies than that of independent samples would."""
    used = [group for group in groups if group]
    if len(used) < 2:  # noqa: PLR2004 - one group says nothing of others
        return count
    residuals = [bisect_right(sorted(group), value) - share * len(group) for group in used]
    between = math.fsum(one * one for one in residuals) * len(used) / (len(used) - 1) / count**2
    return max(1.0, between / (share * (1 - share) / count))


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")
