"""How much padding pays: the cheapest parts of a queue, and what batches are learned to cost."""

from __future__ import annotations

import asyncio
import math
import random
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modalkit import Batch
from modalkit.errors import DeclarationError
from modalkit.runtime.batching import Batcher
from modalkit.runtime.batching.packing import pack
from modalkit.runtime.batching.padding import BatchCost, cheapest_parts

LENGTHS = st.lists(st.integers(0, 200), min_size=1, max_size=14).map(sorted)
FIXED = st.floats(0, 500)


def cost_of(lengths, begins, fixed) -> float:
    ends = [*begins[1:], len(lengths)]
    return sum(
        fixed + lengths[end - 1] * (end - begin) for begin, end in zip(begins, ends, strict=True)
    )


def least(lengths, fixed, max_size=14, max_tokens=None) -> float:
    """The same by trying every way to cut."""
    best = [0.0]
    for end in range(1, len(lengths) + 1):
        longest = lengths[end - 1]
        most = min(max_size, end)
        if max_tokens is not None and longest:
            most = max(1, min(most, max_tokens // longest))
        best.append(min(best[end - size] + fixed + longest * size for size in range(1, most + 1)))
    return best[-1]


@given(LENGTHS, FIXED)
def test_law_no_other_way_to_part_a_queue_costs_less(lengths, fixed):
    """Without limits the one pass finds what trying everything finds."""
    begins = cheapest_parts(lengths, fixed, max_size=len(lengths))
    assert math.isclose(cost_of(lengths, begins, fixed), least(lengths, fixed), abs_tol=1e-6)


@given(LENGTHS, FIXED, st.integers(1, 6), st.integers(1, 400) | st.none())
@example([1, 100, 100], 1000, 2, None)  # the first alone: all three may not go at once
@example([1, 100, 100], 1000, 3, None)
@example([1, 100, 100], 1000, 3, 200)
def test_law_no_other_way_within_the_limits_costs_less(lengths, fixed, max_size, max_tokens):
    """With limits, too, the one pass finds what trying everything finds."""
    begins = cheapest_parts(lengths, fixed, max_size, max_tokens)
    found, tried = cost_of(lengths, begins, fixed), least(lengths, fixed, max_size, max_tokens)
    assert math.isclose(found, tried, abs_tol=1e-6)


@given(LENGTHS, FIXED, st.integers(1, 6), st.integers(1, 400) | st.none())
def test_law_every_part_keeps_the_limits(lengths, fixed, max_size, max_tokens):
    """Parts begin at the shortest, follow each other, and are neither too many nor too long."""
    begins = cheapest_parts(lengths, fixed, max_size, max_tokens)
    assert begins[0] == 0
    assert begins == sorted(set(begins))
    for begin, end in zip(begins, [*begins[1:], len(lengths)], strict=True):
        assert end - begin <= max_size
        assert (
            max_tokens is None or end - begin == 1 or lengths[end - 1] * (end - begin) <= max_tokens
        )


@given(
    st.lists(st.tuples(st.integers(0, 200), st.booleans()), min_size=1, max_size=20),
    st.integers(1, 6),
)
def test_law_the_oldest_leaves_with_its_like_alone(requests, max_size):
    """With pad="auto" too the first that came leaves, and only with requests of its key."""
    waiting = [SimpleNamespace(key=key, length=length) for length, key in requests]
    places = pack(waiting, Batch(max_size, by="key", pad="auto"))
    assert places[0] == 0
    assert places == sorted(set(places))
    assert len(places) <= max_size
    assert {waiting[place].key for place in places} == {waiting[0].key}


@pytest.mark.parametrize(
    ("fixed", "by_length", "learned"), [(5.0, 0.25, 20), (0.5, 0.01, 50), (0.0, 1.0, 3.5)]
)
def test_what_a_batch_costs_is_learned_from_how_long_they_took(fixed, by_length, learned):
    """After enough batches their fixed cost is known in length, at least half of a request's."""
    cost = BatchCost()
    assert cost.fixed(guess=7) == 7
    for number in range(60):
        padded = 40 + 17 * number % 400
        cost.learn(padded, fixed + by_length * padded)
    assert cost.fixed(guess=7) == pytest.approx(learned, abs=1e-3)


@given(st.integers(0, 2**31))
def test_law_noise_alone_breaks_no_batches(seed):
    """However times vary, a batch is believed to cost at least half a request."""
    dice, cost = random.Random(seed), BatchCost()
    for _ in range(100):
        cost.learn(dice.randrange(10, 500), dice.lognormvariate(0, 2))
    assert cost.fixed(guess=30) >= 15


def test_what_tells_nothing_is_not_believed():
    """Batches that are all alike leave the guess; where length costs nothing padding is free."""
    cost = BatchCost()
    for _ in range(100):
        cost.learn(100, 0.3)
    assert cost.fixed(guess=7) == 7
    for number in range(200):
        cost.learn(100 + number % 7, 0.3)
    assert cost.fixed(guess=7) > 1e6


def test_a_queue_learns_how_much_padding_its_model_is_worth():
    """A model that pays by the padded length gets near lengths; one that does not gets all at once."""

    async def sizes(seconds_of):
        seen, gate = [], asyncio.Event()

        async def run(lengths):
            await gate.wait()
            seen.append(sorted(lengths))
            return lengths

        batcher = Batcher("run", run, Batch(8, pad="auto", length=int))
        for padded in range(20, 420, 10):
            batcher.cost.learn(padded, seconds_of(padded))  # what the clock would have told
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0)
        rest = [asyncio.create_task(batcher.submit(n)) for n in (100, 5, 104, 6)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *rest)
        return seen[1:]

    assert asyncio.run(sizes(lambda padded: 5 + padded)) == [[100, 104], [5, 6]]
    assert asyncio.run(sizes(lambda _: 5.0)) == [[5, 6, 100, 104]]


def test_every_batch_that_is_answered_is_learned_from():
    """What the clock says of each batch goes into what the next ones are packed by."""

    async def run(lengths):
        await asyncio.sleep(0)
        return lengths

    async def learned(batch):
        batcher = Batcher("run", run, batch)
        for length in range(1, 30):
            await batcher.submit(length)
        return batcher.cost.fixed(guess=-1) != -1

    assert asyncio.run(learned(Batch(8, pad="auto", length=int)))
    assert not asyncio.run(learned(Batch(8)))


def test_auto_is_the_only_word_for_padding():
    """Another word or a share above one is refused with the field."""
    for wrong in ("least", 1.5, -0.1):
        with pytest.raises(DeclarationError, match="pad"):
            Batch(8, pad=wrong)
