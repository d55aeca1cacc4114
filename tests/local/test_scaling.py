"""Containers come and go as the autoscaler settings say."""

from __future__ import annotations

import uuid

import modal
import pytest


@pytest.fixture
def containers(function):
    """Count the containers of a function: those that run, as its client is told."""

    def number(name: str) -> int:
        return function("scaling", name).get_current_stats().num_total_runners

    return number


def test_min_containers_are_kept(function, containers, wait_until):
    """Containers that are always kept start with the deployment and stay without work."""
    function("scaling", "kept").hydrate()
    wait_until(lambda: containers("kept") == 2, "two containers are kept")
    assert function("scaling", "kept").remote()
    assert containers("kept") == 2


def test_max_containers_bounds(function, containers):
    """A map never has more containers than the maximum, and uses all of them."""
    seen = set(function("scaling", "bounded").map([0.2] * 12))
    assert len(seen) == 2
    assert containers("bounded") == 2


def test_buffer_containers_wait_beside_busy_ones_and_go_with_them(
    function, containers, client, wait_until
):
    """While there is work the buffer stands ready, and stays the same containers; after it nothing."""
    gate = uuid.uuid4().hex
    call = function("scaling", "buffered").spawn(gate)
    wait_until(lambda: containers("buffered") == 3, "two wait beside the busy one")
    modal.Dict.from_name("scaling-gates", create_if_missing=True, client=client)[gate] = "open"
    call.get(timeout=100)
    wait_until(lambda: containers("buffered") == 0, "it scaled to zero")


def test_scales_to_zero_and_back(function, containers, wait_until):
    """After the scaledown window no container is left; the next call gets a new one."""
    first = function("scaling", "brief").remote()
    wait_until(lambda: containers("brief") == 0, "the idle container is gone")
    assert function("scaling", "brief").remote() != first


def test_settings_change_at_run_time(function, containers, wait_until):
    """`update_autoscaler` starts what is missing at once and lets the surplus go; zero counts."""
    adjusted = function("scaling", "adjusted")
    adjusted.update_autoscaler(min_containers=3, scaledown_window=2)
    wait_until(lambda: containers("adjusted") == 3, "three are kept")
    adjusted.update_autoscaler(max_containers=1)
    wait_until(lambda: containers("adjusted") == 1, "more than the maximum end")
    adjusted.update_autoscaler(min_containers=0)
    wait_until(lambda: containers("adjusted") == 0, "none is kept any more")


def test_a_declared_minimum_can_be_taken_back(function, containers, wait_until):
    """`update_autoscaler(min_containers=0)` beats the decorator's min_containers."""
    lowered = function("scaling", "lowered")
    lowered.remote()
    lowered.update_autoscaler(min_containers=0, scaledown_window=2)
    wait_until(lambda: containers("lowered") == 0, "none is kept any more")


def test_a_start_that_takes_too_long_is_an_error(cls):
    """A container that is not ready within startup_timeout is ended, and its caller told how long."""
    with pytest.raises(Exception, match="startup_timeout of 2 s"):
        cls("scaling", "Late")().answer.remote()


def test_a_map_does_not_starve_a_single_call(function):
    """At the maximum a single call takes its turn between the inputs of a map."""
    work = function("scaling", "taken_in_turns")
    outputs = iter(work.map(range(100)))
    assert next(outputs) == 0
    assert work.remote(-1) == -1
    left = sum(1 for _ in outputs)
    assert left > 0


def test_nested_calls_at_the_maximum_do_not_lock_up(function):
    """A function with one container may call itself: whoever waits makes room."""
    assert function("scaling", "descends").remote(3) == 3


def test_a_container_that_dies_at_import_is_reported_and_not_tried_in_a_loop(plane, client):
    """Its caller hears why at once; the container that is always kept is tried ever more rarely."""
    plane.deploy("dies")
    never = modal.Function.from_name("dies", "never", client=client)
    with pytest.raises(Exception, match="no such model"):
        never.remote()
    log = plane.modal("app", "logs", "dies").stdout
    assert 1 <= log.count("imported in a container") <= 4
    assert plane.modal("app", "stop", "dies", "--yes").returncode == 0
