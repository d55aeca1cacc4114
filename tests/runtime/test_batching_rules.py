"""What a queue does beyond gathering: keys, lengths, failures, limits, pace, preparation."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.declare.batches import Batch
from modalkit.errors import BatchError, DeadlineError, DeclarationError, OverloadedError
from modalkit.runtime.batching import Batcher
from modalkit.runtime.batching.packing import Measures, pack


def run(scenario):
    """Run a scenario whose requests must not hang."""

    async def bounded():
        async with asyncio.timeout(30):
            return await scenario()

    return asyncio.run(bounded())


class Model:
    """Doubles numbers; fails with what a test tells it to."""

    def __init__(self, fails=()) -> None:
        self.batches: list[list[int]] = []
        self._fails = set(fails)

    async def __call__(self, numbers):
        self.batches.append(list(numbers))
        await asyncio.sleep(0)
        if bad := self._fails & set(numbers):
            msg = f"cannot double {min(bad)}"
            raise ValueError(msg)
        return [2 * number for number in numbers]


async def everyone(queue, numbers):
    return await asyncio.gather(
        *(queue.submit(number) for number in numbers), return_exceptions=True
    )


@pytest.mark.parametrize("bad", [{0}, {7}, {3, 4}, {0, 5, 15}])
def test_only_the_requests_that_cause_an_error_fail(bad):
    """A batch that fails runs again in halves: the others are answered."""

    async def scenario():
        return await everyone(Batcher("double", Model(bad), Batch(16)), range(16))

    for number, answer in enumerate(run(scenario)):
        if number in bad:
            assert str(answer) == f"cannot double {number}"
        else:
            assert answer == 2 * number


def test_a_model_that_always_fails_is_not_asked_without_end():
    """Where no part of a batch can be answered, a few calls are enough to know."""

    async def scenario():
        model = Model(range(64))
        answers = await everyone(Batcher("double", model, Batch(64)), range(64))
        return len(model.batches), answers

    calls, answers = run(scenario)
    assert calls <= 8
    assert all(isinstance(answer, ValueError) for answer in answers)


def test_a_method_may_say_which_requests_failed():
    """An exception in the place of an answer, or BatchError(failed=...), fails those alone."""

    async def in_place(numbers):
        return [ValueError(f"not {number}") if number == 2 else number for number in numbers]

    async def by_name(numbers):
        if 2 in numbers:
            msg = "one is bad"
            raise BatchError(msg, {numbers.index(2): ValueError("not 2")})
        return numbers

    for method in (in_place, by_name):

        async def scenario(method=method):
            return await everyone(Batcher("count", method, Batch(8)), range(5))

        answers = run(scenario)
        assert str(answers.pop(2)) == "not 2"
        assert answers == [0, 1, 3, 4]


def test_the_failed_requests_of_a_batch_error_survive_the_way_to_the_caller():
    """`BatchError.failed` holds the error of each place."""
    error = BatchError("two", {1: ValueError("x")})
    assert list(error.failed) == [1]
    assert BatchError("all").failed == {}


def test_a_batch_holds_compatible_requests_only():
    """With `by` every batch has one key, and nobody is lost."""

    async def scenario():
        seen = []

        async def method(words):
            seen.append(words)
            await asyncio.sleep(0)
            return words

        batch = Batch(8, by=lambda word: word[0])
        answers = await everyone(Batcher("echo", method, batch), ["a1", "b1", "a2", "b2", "a3"])
        return seen, answers

    seen, answers = run(scenario)
    assert seen == [["a1", "a2", "a3"], ["b1", "b2"]]
    assert answers == ["a1", "b1", "a2", "b2", "a3"]


def test_a_field_may_be_the_key_or_the_length():
    """`by` and `length` name a field of an object or of a mapping."""
    measures = Measures.of(Batch(4, by="kind", length="text", max_tokens=10))
    request = {"kind": "a", "text": "four"}
    assert (measures.key(request), measures.length(request)) == ("a", 4)
    assert measures.length(SimpleNamespace(kind="a", text=9)) == 9


@given(
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=40),
    size=st.integers(1, 12),
    tokens=st.none() | st.integers(1, 400),
    pad=st.none() | st.floats(0, 1),
)
def test_law_a_packed_batch_keeps_its_limits_and_takes_the_oldest(lengths, size, tokens, pad):
    """Size, total length and share of padding hold, in order of arrival, and the first is in it."""
    batch = Batch(size, max_tokens=tokens, pad=pad, length=None)
    waiting = [SimpleNamespace(key=None, length=length) for length in lengths]
    places = pack(waiting, batch)
    taken = [lengths[place] for place in places]
    assert places == sorted(set(places))
    assert places[0] == 0
    assert len(places) <= size
    padded = max(taken) * len(taken)
    if tokens is not None and len(taken) > 1:
        assert (padded if pad is not None else sum(taken)) <= tokens
    if pad is not None:
        assert padded - sum(taken) <= pad * padded + 1e-9


def test_a_full_queue_refuses_and_says_when_to_come_back():
    """One request more than the queue holds is an OverloadedError with seconds; the others wait on."""

    async def scenario():
        gate = asyncio.Event()

        async def method(numbers):
            await gate.wait()
            return numbers

        queue = Batcher("slow", method, Batch(1, max_queue=2))
        first = asyncio.create_task(queue.submit(0))
        await asyncio.sleep(0.01)
        rest = [asyncio.create_task(queue.submit(number)) for number in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="slow has 2 requests waiting") as caught:
            await queue.submit(3)
        gate.set()
        return caught.value, await asyncio.gather(first, *rest)

    error, answers = run(scenario)
    assert (error.status, error.retry_after_s >= 1) == (429, True)
    assert answers == [0, 1, 2]


def test_a_request_that_waits_too_long_is_told_so_and_leaves_the_queue():
    """After its deadline a request fails with DeadlineError and is not computed."""

    async def scenario():
        gate, seen = asyncio.Event(), []

        async def method(numbers):
            seen.append(numbers)
            await gate.wait()
            return numbers

        queue = Batcher("slow", method, Batch(1, deadline_ms=20))
        answers = await everyone(queue, [0, 1])
        gate.set()
        await asyncio.sleep(0.01)
        return answers, seen, queue.waiting

    answers, seen, waiting = run(scenario)
    assert [type(answer) for answer in answers] == [DeadlineError, DeadlineError]
    assert str(answers[1]) == "slow did not answer within 20 ms."
    assert (seen, waiting) == ([[0]], 0)


def test_a_cancelled_caller_makes_room_at_once():
    """A request that leaves while it waits is out of the queue, not only out of the next batch."""

    async def scenario():
        gate = asyncio.Event()

        async def method(numbers):
            await gate.wait()
            return numbers

        queue = Batcher("slow", method, Batch(1))
        first = asyncio.create_task(queue.submit(0))
        await asyncio.sleep(0.01)
        gone = asyncio.create_task(queue.submit(1))
        await asyncio.sleep(0)
        before = queue.waiting
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        after = queue.waiting
        gate.set()
        return before, after, await first

    assert run(scenario) == (1, 0, 0)


def test_so_many_batches_run_at_once_as_declared():
    """Two parallel batches meet in the method; a third waits."""

    async def scenario():
        running, most = 0, 0

        async def method(numbers):
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            return numbers

        queue = Batcher("two", method, Batch(2, max_parallel_batches=2))
        answers = await everyone(queue, range(12))
        return most, answers

    assert run(scenario) == (2, list(range(12)))


def test_the_next_batch_is_prepared_while_this_one_runs():
    """`prepare` of the second batch begins before the first has ended, and gets its own requests."""

    async def scenario():
        story, gate = [], asyncio.Event()

        async def prepare(numbers):
            story.append(("prepare", *numbers))
            if 1 in numbers:
                gate.set()
            return sum(numbers)

        async def method(numbers, total):
            story.append(("begin", *numbers))
            if 0 in numbers:
                await gate.wait()  # only the preparation of the next batch lets it end
            story.append(("end", *numbers))
            return [total] * len(numbers)

        queue = Batcher("sum", method, Batch(2), prepare=prepare)
        first = asyncio.create_task(queue.submit(0))
        await asyncio.sleep(0.01)
        return await asyncio.gather(first, queue.submit(1), queue.submit(2)), story

    answers, story = run(scenario)
    assert answers == [0, 3, 3]
    assert story.index(("prepare", 1, 2)) < story.index(("end", 0))


def test_an_adaptive_queue_does_not_wait_for_callers_that_are_not_there():
    """One caller after the other leaves at once each time, however long the declared wait."""

    async def scenario():
        queue = Batcher("double", Model(), Batch(64, max_wait_ms=60_000))
        return [await queue.submit(number) for number in range(50)]

    assert run(scenario) == [2 * number for number in range(50)]


class Recorder:
    """Writes down what an observer is told."""

    def __init__(self) -> None:
        self.records, self.passages, self.reasons = [], [], []

    def batch_ended(self, record) -> None:
        self.records.append(record)

    def answered(self, passage) -> None:
        self.passages.append(passage)

    def refused(self, route, reason) -> None:
        self.reasons.append((route, reason))


def test_an_observer_is_told_of_batches_passages_and_refusals():
    """One record a batch, one passage a request that ran, one reason a request that did not."""

    async def scenario():
        told = Recorder()
        queue = Batcher("double", Model({3}), Batch(8), observer=told)
        await everyone(queue, range(4))
        slow = Batcher("slow", lambda _: asyncio.sleep(60), Batch(1, deadline_ms=1), observer=told)
        await everyone(slow, [1])
        return told

    told = run(scenario)
    record = told.records[0]
    assert (record.route, record.size, record.failed, record.waiting) == ("double", 4, 1, 0)
    assert len([passage for passage in told.passages if passage.route == "double"]) == 4
    assert all(passage.left >= passage.arrived for passage in told.passages)
    assert told.reasons == [("slow", "deadline")]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"length": "text"}, "Write max_tokens=..., or pad=0.25"),
        ({"pad": 2}, "Batch.pad"),
        ({"max_queue": 0}, "Batch.max_queue"),
        ({"on_error": "retry"}, "Batch.on_error"),
        ({"max_wait": 5}, "Did you mean 'max_wait_ms'?"),
    ],
)
def test_a_batch_that_cannot_be_says_what_to_write(fields, says):
    """Fields out of range, unknown or used by nothing are refused by name."""
    with pytest.raises(DeclarationError) as caught:
        Batch(8, **fields)
    assert says in str(caught.value)


def test_a_batch_of_functions_goes_into_a_plan():
    """Functions of a Batch are written by their names."""
    told = Batch(8, by=len, length=len, max_tokens=9).model_dump_json()
    assert '"by":"len"' in told
