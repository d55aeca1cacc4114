"""The queue that turns single requests into batches."""

from __future__ import annotations

import asyncio
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalkit.declare.batches import Batch
from modalkit.errors import BatchError
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


class Held:
    """A model whose every batch waits until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self._turns = asyncio.Semaphore(0)

    async def __call__(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        await self._turns.acquire()
        if -1 in numbers:
            msg = "minus one"
            raise ValueError(msg)
        return [2 * number for number in numbers]

    async def running(self, batches: int) -> None:
        """Wait until so many batches have begun."""
        while len(self.batches) < batches:  # noqa: ASYNC110 - simpler to read than an event
            await asyncio.sleep(0.001)

    def let_go(self, batches: int = 1) -> None:
        for _ in range(batches):
            self._turns.release()


async def submitted(queue, *numbers):
    """A task per request, each of them in the queue."""
    tasks = [asyncio.create_task(queue.submit(number)) for number in numbers]
    await asyncio.sleep(0)
    return tasks


def run(scenario):
    """Run a scenario whose requests must not hang."""

    async def bounded():
        async with asyncio.timeout(20):
            return await scenario()

    return asyncio.run(bounded())


def batcher(model, max_size=8, max_wait_ms=5.0, **options):
    options = {"adaptive": False, "on_error": "fail", **options}
    return Batcher[int, int]("double", model, Batch(max_size, max_wait_ms=max_wait_ms, **options))


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


def test_a_full_batch_does_not_wait():
    """The last request that fits sends a gathering batch off, however long the declared wait."""

    async def scenario():
        model = Held()
        queue = batcher(model, max_size=2, max_wait_ms=60_000)
        tasks = await submitted(queue, 0)
        await model.running(1)
        tasks += await submitted(queue, 1)
        model.let_go()
        await tasks[0]  # now the model is idle and gathers
        tasks += await submitted(queue, 2)
        model.let_go()
        return await asyncio.gather(*tasks), model.batches

    assert run(scenario) == ([0, 2, 4], [[0], [1, 2]])


def test_a_full_batch_does_not_hurry_the_next_one():
    """A batch that was full leaves the next one its time to gather."""

    async def scenario():
        model = Held()
        queue = batcher(model, max_size=2, max_wait_ms=60_000)
        tasks = await submitted(queue, 0, 1, 2)
        await model.running(1)  # full, and 2 stays behind
        model.let_go()
        await asyncio.gather(*tasks[:2])
        await asyncio.sleep(0.05)  # room for a mistake: 2 leaving alone
        tasks += await submitted(queue, 3)
        model.let_go()
        await asyncio.gather(*tasks)
        return model.batches

    assert run(scenario) == [[0, 1], [2, 3]]


def test_a_caller_that_leaves_the_middle_of_the_queue_is_not_computed():
    """A cancelled request is left out of its batch wherever it stood."""

    async def scenario():
        model = Held()
        queue = batcher(model, max_wait_ms=0)
        tasks = await submitted(queue, 0)
        await model.running(1)
        tasks += await submitted(queue, 1, 2, 3)
        tasks[2].cancel()
        model.let_go(2)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        return model.batches, [answers[0], answers[1], answers[3]]

    assert run(scenario) == ([[0], [1, 3]], [0, 2, 6])


@pytest.mark.parametrize("last", [4, -1])
def test_a_caller_that_leaves_a_running_batch_costs_the_others_nothing(last):
    """The others get their answer, or their error, and the queue goes on."""

    async def scenario():
        model = Held()
        queue = batcher(model, max_wait_ms=0)
        tasks = await submitted(queue, 0)
        await model.running(1)
        tasks += await submitted(queue, 1, 2, last)
        model.let_go()
        await model.running(2)
        tasks[1].cancel()
        tasks += await submitted(queue, 5)
        model.let_go(2)
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = run(scenario)
    assert isinstance(answers[1], asyncio.CancelledError)
    shared = [4, 8] if last == 4 else ["minus one", "minus one"]
    assert [answers[0], answers[4]] == [0, 10]
    assert [answer if last == 4 else str(answer) for answer in answers[2:4]] == shared


def test_an_error_reaches_every_caller_of_its_batch_and_no_other():
    """A failed batch fails each of its requests, with an error of its own; the queue goes on."""

    async def scenario():
        model = Held()
        queue = batcher(model, max_size=3, max_wait_ms=0)
        model.let_go(3)
        return await asyncio.gather(
            *(queue.submit(number) for number in (1, -1, 2, 3, 4)), return_exceptions=True
        )

    *failed, third, fourth = run(scenario)
    assert [repr(error) for error in failed] == 3 * ["ValueError('minus one')"]
    assert len({id(error) for error in failed}) == 3
    assert len({len(traceback.extract_tb(error.__traceback__)) for error in failed}) == 1
    assert [third, fourth] == [6, 8]


class NumberedError(Exception):
    """An error that cannot be made again from what it passed on."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"{number}: {why}")


class PrefixedError(Exception):
    """An error that would be another one if it were made again."""

    def __init__(self, why: str) -> None:
        super().__init__(f"failed: {why}")


@pytest.mark.parametrize(
    ("error", "text"), [(NumberedError(3, "no"), "3: no"), (PrefixedError("no"), "failed: no")]
)
def test_an_error_that_cannot_be_copied_arrives_all_the_same(error, text):
    """Errors whose constructor does something of its own keep their type and their words."""

    async def fails(numbers):
        raise error

    async def scenario():
        queue = batcher(fails)
        return await asyncio.gather(*(queue.submit(1) for _ in range(3)), return_exceptions=True)

    assert [(type(caught), str(caught)) for caught in run(scenario)] == 3 * [(type(error), text)]


def test_the_cause_of_an_error_comes_with_it():
    """A caller's copy keeps the cause and the place of the error in the method."""

    async def fails(numbers):
        try:
            {}[numbers[0]]
        except KeyError as error:
            msg = "no such number"
            raise ValueError(msg) from error

    async def scenario():
        await batcher(fails).submit(3)

    with pytest.raises(ValueError, match="no such number") as caught:
        run(scenario)
    assert isinstance(caught.value.__cause__, KeyError)
    assert "fails" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_batch_that_is_cancelled_answers_its_callers():
    """A cancellation inside the method is an error for its batch, and the next batch runs."""

    async def cancels_on_one(numbers):
        if 1 in numbers:
            raise asyncio.CancelledError
        return numbers

    async def scenario():
        queue = batcher(cancels_on_one, max_size=2)
        return await asyncio.gather(
            *(queue.submit(number) for number in (0, 1, 2)), return_exceptions=True
        )

    *cancelled, answer = run(scenario)
    assert [type(error) for error in cancelled] == [BatchError, BatchError]
    assert "double was cancelled" in str(cancelled[0])
    assert answer == 2


def test_a_worker_that_is_cancelled_answers_everyone_who_waits():
    """Where the worker itself is cancelled, as at the end of a loop, nobody waits for ever."""

    async def scenario():
        model = Held()
        queue = batcher(model)
        tasks = await submitted(queue, 0)
        await model.running(1)
        tasks += await submitted(queue, 1)
        (worker,) = asyncio.all_tasks() - {asyncio.current_task(), *tasks}
        worker.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        model.let_go()
        return worker.cancelled(), [type(error) for error in outcomes], await queue.submit(2)

    assert run(scenario) == (True, [BatchError, BatchError], 4)


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
