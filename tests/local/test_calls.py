"""Calling functions, through the real client."""

from __future__ import annotations

import asyncio
import os
import time

import modal
import pytest


def test_remote(function):
    """A call returns what the function returns."""
    assert function("calls", "square").remote(7) == 49


def test_remote_of_an_async_function(function):
    """An async function is called the same way, from sync and from async code."""
    asquare = function("calls", "asquare")
    assert asquare.remote(7) == 49
    assert asyncio.run(asquare.remote.aio(8)) == 64


def test_map_keeps_the_order(function):
    """Outputs come in the order of the inputs, whatever finished first."""
    assert list(function("calls", "square").map(range(200))) == [n * n for n in range(200)]


def test_unordered_map_returns_everything(function):
    """Without order every output comes once."""
    outputs = function("calls", "square").map(range(50), order_outputs=False)
    assert sorted(outputs) == [n * n for n in range(50)]


def test_starmap_and_for_each(function):
    """Tuples are spread over the arguments; for_each waits and returns nothing."""
    add = function("calls", "add")
    assert list(add.starmap([(1, 2), (3, 4)])) == [3, 7]
    assert function("calls", "square").for_each([1, 2]) is None


def test_map_can_return_exceptions(function):
    """A failing input becomes a value in its place."""
    outputs = list(function("calls", "fails").map(["a", "b"], return_exceptions=True))
    assert [type(output) for output in outputs] == [KeyError, KeyError]


def test_spawn_and_get(function, client):
    """A spawned call is collected later, by its handle or by its id."""
    call = function("calls", "square").spawn(9)
    assert call.get() == 81
    assert modal.FunctionCall.from_id(call.object_id, client=client).get() == 81
    assert modal.FunctionCall.gather(call, function("calls", "square").spawn(2)) == [81, 4]


def test_get_with_a_timeout(function):
    """Waiting for a spawned call can be bounded."""
    call = function("calls", "sleeps").spawn(1.5)
    with pytest.raises(TimeoutError):
        call.get(timeout=0)
    assert call.get() == "slept"


def test_generators(function):
    """Items of sync and async generators arrive in order."""
    assert list(function("calls", "count").remote_gen(20)) == list(range(20))
    assert list(function("calls", "acount").remote_gen(20)) == list(range(20))


def test_an_exception_in_a_generator_comes_after_its_items(function):
    """What was yielded before the exception is received."""
    received = []
    with pytest.raises(RuntimeError, match="the generator broke"):
        received.extend(function("calls", "broken_count").remote_gen(3))


def test_exceptions_keep_their_type(function):
    """An exception is raised here as what it was there."""
    with pytest.raises(KeyError, match="missing"):
        function("calls", "fails").remote("missing")


def test_large_payloads(function):
    """Arguments and results beyond the message limit travel as blobs."""
    data = os.urandom(6 * 1024 * 1024)
    assert function("calls", "twice").remote(data) == data + data


def test_nested_calls(function):
    """A function calls another one and waits for it."""
    assert function("calls", "sum_of_squares").remote(10) == sum(n * n for n in range(10))


def test_recursion_does_not_starve(function):
    """Containers that wait for calls to their own function do not block those."""
    assert function("calls", "fibonacci").remote(6) == 8


def test_retries(function):
    """A failing input runs again as often as declared."""
    assert function("calls", "third_time").remote(f"key-{time.time()}") == 3
    spawned = function("calls", "third_time").spawn(f"other-{time.time()}")
    assert spawned.get() == 3


def test_timeout(function):
    """An input that runs too long is ended and reported as Modal reports it."""
    with pytest.raises(modal.exception.FunctionTimeoutError):
        function("calls", "sleeps").remote(60)
    assert function("calls", "sleeps").remote(0) == "slept"


def test_cancel_interrupts_the_code(function, client):
    """A cancelled input is interrupted where it is, and its cleanup runs."""
    tries = modal.Dict.from_name("tries", create_if_missing=True, client=client)
    interrupted = function("calls", "interrupted")
    key = f"cancel-{time.time()}"
    call = interrupted.spawn(key)
    deadline = time.monotonic() + 60
    while interrupted.get_current_stats().num_running_inputs == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    call.cancel()
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        call.get()
    while tries.get(key) != "cleaned up":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_cancel_of_a_queued_input(function):
    """An input that no container has taken is cancelled at once."""
    interrupted = function("calls", "interrupted")
    first, second = interrupted.spawn("first"), interrupted.spawn("second")
    second.cancel()
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        second.get()
    first.cancel(terminate_containers=True)
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        first.get()


@pytest.mark.parametrize(("how", "said"), [("signal", "signal 9"), ("exit", "exit code 3")])
def test_a_container_that_dies_is_noticed_at_once(function, how, said):
    """The caller of a killed container gets an error that says how it ended."""
    with pytest.raises(modal.exception.RemoteError, match=said):
        function("calls", "killed").remote(how)
    assert function("calls", "square").remote(2) == 4


def test_concurrent_inputs_share_a_container(function):
    """Eight inputs that wait for each other finish in one container."""
    assert sorted(function("calls", "together").map(range(8))) == list(range(8))


def test_batched_inputs_are_gathered(function):
    """Inputs are gathered to full batches; the rest goes when its time has come."""
    sizes = list(function("calls", "batch_sizes").map(range(10)))
    assert len(sizes) == 10
    assert max(sizes) == 4
    assert all(1 <= size <= 4 for size in sizes)


def test_startup_failure_is_raised_at_the_caller(cls):
    """An exception in an enter method is what the caller gets."""
    with pytest.raises(FileNotFoundError, match="the weights are missing"):
        cls("failing", "RaisesInEnter")().call.remote()


def test_startup_timeout_is_said(cls):
    """A container that is not ready in time is ended, and the message says what to raise."""
    with pytest.raises(modal.exception.RemoteError, match="startup_timeout"):
        cls("failing", "NeverReady")().call.remote()


def test_serialized_functions(function):
    """A function that travels by value runs."""
    assert function("failing", "needs_nothing").remote() == "fine"
