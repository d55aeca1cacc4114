"""The queue that turns single requests into batches."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalkit.errors import BatchError
from modalkit.routes import Batch
from modalkit.runtime.batching import Batcher


class Doubler:
    """A model that doubles numbers and remembers the batches it was given."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.batches: list[list[int]] = []
        self._takes_s = takes_s

    async def __call__(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        await asyncio.sleep(self._takes_s)
        return [2 * number for number in numbers]


def batcher(model, max_size=8, max_wait_ms=5.0):
    return Batcher[int, int]("double", model, Batch(max_size, max_wait_ms=max_wait_ms))


def test_answers_belong_to_their_requests():
    """Concurrent requests share batches and each gets its own answer."""

    async def scenario():
        model = Doubler(takes_s=0.01)
        queue = batcher(model)
        answers = await asyncio.gather(*(queue.submit(number) for number in range(50)))
        return model, answers

    model, answers = asyncio.run(scenario())
    assert answers == [2 * number for number in range(50)]
    assert max(len(batch) for batch in model.batches) == 8
    assert len(model.batches) < 50


def test_a_lone_request_leaves_at_once():
    """An idle model does not wait for company, however long the declared wait."""

    async def scenario():
        queue = batcher(Doubler(), max_wait_ms=60_000)
        return await asyncio.wait_for(queue.submit(21), timeout=5)

    assert asyncio.run(scenario()) == 42


def test_requests_gather_while_the_model_runs():
    """What arrives during one batch leaves together in the next."""

    async def scenario():
        model = Doubler(takes_s=0.05)
        queue = batcher(model)
        first = asyncio.create_task(queue.submit(0))
        await asyncio.sleep(0.01)
        rest = [asyncio.create_task(queue.submit(number)) for number in range(1, 6)]
        await asyncio.gather(first, *rest)
        return model.batches

    assert asyncio.run(scenario()) == [[0], [1, 2, 3, 4, 5]]


def test_a_cancelled_caller_leaves_the_queue():
    """A request whose caller has gone is not computed."""

    async def scenario():
        model = Doubler(takes_s=0.05)
        queue = batcher(model)
        first = asyncio.create_task(queue.submit(0))
        await asyncio.sleep(0.01)
        gone = asyncio.create_task(queue.submit(1))
        stays = asyncio.create_task(queue.submit(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == 4
        await first
        return model.batches

    assert asyncio.run(scenario()) == [[0], [2]]


def test_an_error_reaches_every_caller_of_its_batch_and_no_other():
    """A failed batch fails its requests; the queue goes on."""

    async def fails_on_odd(numbers):
        if any(number % 2 for number in numbers):
            msg = "odd"
            raise ValueError(msg)
        return numbers

    async def scenario():
        queue = batcher(fails_on_odd, max_size=1)
        outcomes = await asyncio.gather(
            *(queue.submit(number) for number in (0, 1, 2)), return_exceptions=True
        )
        return [outcomes[0], str(outcomes[1]), outcomes[2]]

    assert asyncio.run(scenario()) == [0, "odd", 2]


@pytest.mark.parametrize("wrong", [[], [1, 2], None, "xy"])
def test_a_method_that_loses_answers_is_named(wrong):
    """Not returning one answer per request is an error that says what was expected."""

    async def broken(numbers):
        return wrong

    async def scenario():
        await batcher(broken).submit(1)

    with pytest.raises(BatchError, match="double got 1 requests"):
        asyncio.run(scenario())


@settings(max_examples=60, deadline=None)
@given(
    arrivals=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    max_size=st.integers(1, 7),
    wait=st.sampled_from([0, 1, 3]),
)
def test_law_every_request_is_answered_once_in_arrival_order(arrivals, max_size, wait):
    """Whatever the arrivals: batches hold every request once, in order, within the size limit."""

    async def scenario():
        model = Doubler()
        queue = batcher(model, max_size, wait)
        tasks = []
        for number, pause in enumerate(arrivals):
            tasks.append(asyncio.create_task(queue.submit(number)))
            for _ in range(pause):
                await asyncio.sleep(0)
        return model.batches, await asyncio.gather(*tasks)

    batches, answers = asyncio.run(scenario())
    assert [number for batch in batches for number in batch] == list(range(len(arrivals)))
    assert max(map(len, batches)) <= max_size
    assert answers == [2 * number for number in range(len(arrivals))]
