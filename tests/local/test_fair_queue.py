"""Whose turn it is, and which outputs a caller gets."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from modalkit.local.calls.fair_queue import FairQueue
from modalkit.local.calls.outputs import Outputs
from modalkit.local.protocol import api


@dataclass(frozen=True)
class Waiting:
    """What the queue sees of an input."""

    id: str
    call: str


entries = st.lists(st.sampled_from("abc"), max_size=40).map(
    lambda calls: [Waiting(str(number), call) for number, call in enumerate(calls)]
)


def _drained(queue: FairQueue) -> list[Waiting]:
    return [queue.take() for _ in range(len(queue))]


@given(entries)
def test_everything_is_taken_once_and_in_order_within_its_call(waiting):
    """Nothing is lost, and a call's inputs keep their order."""
    queue = FairQueue()
    for entry in waiting:
        queue.put(entry)
    taken = _drained(queue)
    assert sorted(taken, key=lambda entry: int(entry.id)) == waiting
    for call in "abc":
        of_call = [entry for entry in taken if entry.call == call]
        assert of_call == [entry for entry in waiting if entry.call == call]


@given(entries)
def test_no_call_is_served_twice_while_another_waits(waiting):
    """Between two inputs of a call, every other call that waits gets one."""
    queue = FairQueue()
    for entry in waiting:
        queue.put(entry)
    taken = [entry.call for entry in _drained(queue)]
    for at, call in enumerate(taken[:-1]):
        if taken[at + 1] == call:
            assert set(taken[at + 1 :]) == {call}


@given(entries, st.sets(st.integers(0, 39)))
def test_what_is_discarded_is_not_taken(waiting, unwanted):
    """Discarding removes exactly that input, once."""
    queue = FairQueue()
    for entry in waiting:
        queue.put(entry)
    for entry in waiting:
        if int(entry.id) in unwanted:
            queue.discard(entry)
            queue.discard(entry)
    assert {int(entry.id) for entry in _drained(queue)} == {
        number for number in range(len(waiting)) if number not in unwanted
    }


@given(st.permutations(range(12)), st.lists(st.integers(0, 4), max_size=12))
def test_a_reader_who_names_its_last_entry_gets_every_output_once(order, steps):
    """However outputs and requests interleave, a map's caller sees each output once."""
    outputs, seen, last, waiting = Outputs(), [], "0-0", list(order)
    for step in [*steps, 12]:
        for index in waiting[:step]:
            outputs.add(api.FunctionGetOutputsItem(idx=index))
        waiting = waiting[step:]
        outputs.forget_up_to(last)
        reply = outputs.reply(api.FunctionGetOutputsRequest(last_entry_id=last), 0)
        seen += reply.idxs
        last = reply.last_entry_id
    assert seen == list(order)
    outputs.forget_up_to(last)
    assert len(outputs) == 0
