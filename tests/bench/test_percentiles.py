"""Percentiles and their confidence intervals, against distributions that are known."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from modalkit.bench.percentiles import distribution, mean_estimate, quantile

_FINITE = st.floats(0.001, 1e6)


@given(st.lists(_FINITE, min_size=1, max_size=300))
def test_percentiles_are_ordered_and_inside_their_intervals(samples):
    """Every percentile lies between the least and the most, and within its own interval."""
    told = distribution([[one] for one in samples])
    ends = [told.least, told.p50.value, told.p90.value, told.p95.value, told.p99.value, told.most]
    assert ends == sorted(ends)
    for one in (told.p50, told.p90, told.p95, told.p99):
        assert one.low is None or one.low <= one.value
        assert one.high is None or one.high >= one.value


def _coverage(samples_of, truth: float, which: str, trials: int = 400) -> float:
    hits = 0
    for trial in range(trials):
        one = getattr(distribution(samples_of(random.Random(trial))), which)
        hits += (one.low or 0.0) <= truth <= (one.high if one.high is not None else float("inf"))
    return hits / trials


def test_intervals_hold_the_truth_as_often_as_they_say():
    """The 95 % interval of a percentile holds the true one in at least 93 of 100 samples."""
    for which, truth in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        covered = _coverage(lambda chance: [[chance.random()] for _ in range(200)], truth, which)
        assert covered >= 0.93


def test_samples_that_resemble_each_other_are_not_taken_for_independent():
    """Gaps that share their answer's pace keep an honest interval, where independence would not."""

    def groups(chance):
        return [[chance.gauss(0, 1) + 100] * 50 for _ in range(40)]

    assert _coverage(groups, 100.0, "p50") >= 0.90
    assert (
        _coverage(lambda chance: [[one] for group in groups(chance) for one in group], 100.0, "p50")
        < 0.5
    )


def test_few_samples_have_no_upper_end():
    """The 99th percentile of thirty samples may lie above all of them, and that is said."""
    told = distribution([[float(one)] for one in range(30)])
    assert told.p99.high is None
    assert told.p50.high is not None


def test_nothing_has_no_distribution():
    """Without a sample there is no figure."""
    assert distribution([]) is None
    assert distribution([[], []]) is None


def test_throughput_is_as_sure_as_its_parts_agree():
    """Equal parts give an interval of no width; different ones a wide one; one part none."""
    same, other = mean_estimate([5.0] * 10), mean_estimate([1.0, 9.0] * 5)
    assert (same.low, same.high) == (5.0, 5.0)
    assert other.low < 4
    assert other.high > 6
    assert mean_estimate([3.0]).low is None


@given(st.lists(_FINITE, min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_is_among_the_samples(samples, share):
    """A percentile is never outside of what was measured."""
    ordered = sorted(samples)
    found = quantile(ordered, share)
    assert ordered[0] * (1 - 1e-9) <= found <= ordered[-1] * (1 + 1e-9)
