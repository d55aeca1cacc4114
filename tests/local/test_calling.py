"""Calls in rough weather: maxima, deaths, large things, broken exceptions, callers who leave."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import modal
import pytest


@pytest.fixture
def arrivals(client):
    """Read what a function reported under a key."""
    queue = modal.Queue.from_name("calling-arrivals", create_if_missing=True, client=client)

    def read(key: str, count: int = 1) -> list:
        return [queue.get(partition=key, timeout=60) for _ in range(count)]

    return read


def test_a_single_call_does_not_wait_for_a_large_map(function):
    """At the maximum, calls take turns: one input gets in before a map of 500 is done."""
    alone = function("calling", "alone")
    outputs = iter(alone.map(range(500), order_outputs=False))
    received = [next(outputs)]
    assert alone.remote(7) == -7
    assert alone.get_current_stats().backlog > 0  # the map still has inputs waiting
    assert len([*received, *outputs]) == 500


def test_recursion_deeper_than_the_maximum(function):
    """A function with one container may call itself: its own calls get containers beyond that."""
    assert function("calling", "depth").remote(3) == 3


def test_an_input_survives_its_container(function):
    """An input whose container was killed runs again in another."""
    assert function("calling", "dies_once").remote(f"key-{time.time()}") == "survived"


def test_a_call_survives_containers_that_are_killed_while_they_start(cls):
    """Two killed starts are forgiven; a container that is killed at every start is told of."""
    starting = cls("calling", "DiesStarting")
    assert starting(key=f"twice-{time.time()}", times=2).starts.remote() == 3
    with pytest.raises(modal.exception.RemoteError, match="signal 9"):
        starting(key=f"always-{time.time()}", times=100).starts.remote()


def test_large_payloads_travel_both_ways(function):
    """A hundred megabytes go in, and a hundred come out."""
    size = 100 * 1024 * 1024
    assert function("calling", "length").remote(bytes(size)) == size
    assert len(function("calling", "zeros").remote(size)) == size


def test_large_outputs_of_a_map_and_of_a_spawned_call(function):
    """Blobs belong to maps and spawned calls as well."""
    zeros, size = function("calling", "zeros"), 3 * 1024 * 1024
    assert [len(output) for output in zeros.map([size, size + 1])] == [size, size + 1]
    call = zeros.spawn(size)
    assert len(call.get()) == size
    assert len(call.get()) == size  # a second time too


def test_a_call_leaves_no_blob_behind(function, plane, wait_until):
    """Arguments go once their input is done."""
    blobs = plane.state / "run" / str(plane.process.pid) / "blobs"
    size = 4 * 1024 * 1024 + 7
    assert function("calling", "length").remote(bytes(size)) == size
    wait_until(
        lambda: not any(size <= blob.stat().st_size < size + 4096 for blob in blobs.iterdir()),
        "the argument's blob was removed",
    )


def test_closures(function, arrivals, client):
    """Volumes, secrets, dicts and queues around a function are there inside it."""
    key = f"key-{time.time()}"
    assert function("calling", "closes_over").remote(key) == ["swordfish", "noted", "kept"]
    assert arrivals(key) == ["arrived"]
    volume = modal.Volume.from_name("calling-notes", client=client)
    assert b"".join(volume.read_file(key)) == b"noted"


def test_a_traceback_shows_where_it_was_raised(function):
    """The remote frames are part of the exception's traceback here."""
    with pytest.raises(ValueError, match="wrong deep down") as caught:
        function("calling", "goes_wrong_deep_down").remote()
    frames = [entry.name for entry in caught.traceback]
    assert "below" in frames


def test_an_exception_that_cannot_be_pickled(function):
    """Its text comes through, as an error of Modal's."""
    with pytest.raises(modal.exception.ExecutionError, match="cannot travel"):
        function("calling", "cannot_be_pickled").remote()


@pytest.mark.parametrize("way", ["remote", "spawn", "map"])
def test_retries_back_off(function, arrivals, way):
    """Each retry waits longer than the one before, however the function is called."""
    key, always_fails = f"{way}-{time.time()}", function("calling", "always_fails")
    call = {
        "remote": always_fails.remote,
        "spawn": lambda key: always_fails.spawn(key).get(),
        "map": lambda key: list(always_fails.map([key])),
    }[way]
    with pytest.raises(RuntimeError, match="again"):
        call(key)
    first, second, third = arrivals(key, 3)
    assert second - first >= 0.2
    assert third - second >= 0.4


def test_a_caller_who_is_killed_takes_its_inputs_along(function, arrivals, plane, wait_until):
    """Inputs that nobody waits for any more are not worked on."""
    slow, key = function("calling", "slow"), f"left-{time.time()}"
    code = f"import modal; slow = modal.Function.from_name('calling', 'slow'); list(slow.map([{key!r}] * 90, range(90)))"
    caller = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **plane.exports})
    assert arrivals(key) == [0]
    caller.kill()
    caller.wait(60)
    wait_until(lambda: slow.get_current_stats().backlog == 0, "the queue is empty")
    assert slow.remote(key, 99) == 99
    assert len(arrivals(key, 2)) == 2  # nothing like ninety were started


def test_ctrl_c_ends_a_map(start_local, processes, wait_until):
    """Ctrl-C during a map ends the command and its containers."""
    command = start_local("modal", "run", "calling.py::forever")
    assert command.stdout is not None
    for line in command.stdout:
        if "one is done" in line:
            break
    below = processes.below(command.pid)
    os.killpg(command.pid, signal.SIGINT)  # a terminal sends it to the whole group
    command.wait(60)
    wait_until(lambda: not any(processes.alive(pid) for pid in below), "the containers are gone")


def test_async_ways(function):
    """Every way of calling has its async twin."""

    async def run() -> None:
        square = function("calls", "square")
        call = await square.spawn.aio(5)
        assert await call.get.aio() == 25
        assert await modal.FunctionCall.gather.aio(call, await square.spawn.aio(3)) == [25, 9]
        assert [n async for n in square.map.aio(range(5))] == [0, 1, 4, 9, 16]
        pairs = [(1, 2), (3, 4)]
        assert [n async for n in function("calls", "add").starmap.aio(pairs)] == [3, 7]
        assert await square.for_each.aio([1, 2]) is None
        assert [n async for n in function("calls", "count").remote_gen.aio(3)] == [0, 1, 2]

    asyncio.run(run())


def test_spawn_map_runs_everything(function, arrivals):
    """A spawned map returns at once and its inputs run."""
    key = f"spawn-map-{time.time()}"
    function("calling", "closes_over").spawn_map([key] * 3)
    assert arrivals(key, 3) == ["arrived"] * 3


def test_results_of_a_spawned_map_by_index(function, client):
    """A spawned map is a call with many inputs; its id gives any of its results, in any order."""
    call = function("calls", "square").experimental_spawn_map(range(600))
    found = modal.FunctionCall.from_id(call.object_id, client=client)
    assert found.get(index=599) == 599 * 599
    assert found.num_inputs() == 600
    assert list(found.iter(start=10, end=13)) == [100, 121, 144]


def test_the_call_graph(function):
    """It shows the call, the call it made, and how each input ended."""
    call = function("calling", "parent_of").spawn(3)
    assert call.get() == 3
    (root,) = call.get_call_graph()
    assert root.function_name == "parent_of"
    assert [child.function_name for child in root.children] == ["child"] * 3
    assert {child.status.name for child in root.children} == {"SUCCESS"}


def test_the_call_graph_begins_at_the_first_call(function, client):
    """A call that was made by another shows what it is part of, not only what it made."""
    spawned = function("calling", "leave_to_child").remote(4)
    call = modal.FunctionCall.from_id(spawned, client=client)
    assert call.get() == 4
    (root,) = call.get_call_graph()
    assert root.function_name == "leave_to_child"
    assert [child.function_call_id for child in root.children] == [spawned]


def test_a_rush_uses_the_maximum_concurrency(function):
    """At the maximum of containers, one takes more inputs than its target."""
    assert sorted(function("calling", "rush").map(range(20))) == list(range(20))


def test_a_function_that_travels_by_value(function):
    """`serialized=True` needs no file in the container."""
    assert function("calling", "by_value").remote(1) == 6


def test_failing_inputs_do_not_stop_for_each(function):
    """`ignore_exceptions` swallows them."""
    assert function("calls", "fails").for_each(["a", "b"], ignore_exceptions=True) is None


def test_the_autoscaler_is_updated_while_it_runs(function, wait_until):
    """A higher minimum starts containers at once."""
    child = function("calling", "child")
    child.update_autoscaler(min_containers=2)
    wait_until(lambda: child.get_current_stats().num_total_runners >= 2, "two containers run")
    child.update_autoscaler(min_containers=0)
