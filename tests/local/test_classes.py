"""Classes, through the real client."""

from __future__ import annotations

import modal


def test_methods_of_every_kind(cls):
    """Sync, async and generator methods of one class run after its enter methods."""
    greeter = cls("classes", "Greeter")()
    assert greeter.greet.remote() == "hello nobody!"
    assert greeter.agreet.remote() == "hello!"
    assert "".join(greeter.letters.remote_gen()) == "nobody"
    assert "".join(greeter.aletters.remote_gen()) == "nobody"


def test_parameters_select_the_instance(cls):
    """Each set of parameters has containers of its own."""
    greeter = cls("classes", "Greeter")
    assert greeter(name="ann", times=2).greet.remote() == "hello ann hello ann!"
    assert greeter(name="bob").greet.remote() == "hello bob!"


def test_methods_call_each_other_and_other_instances(cls):
    """`.local` stays in the container, `.remote` goes to the other instance's."""
    greeter = cls("classes", "Greeter")
    assert greeter(name="ann").boast.remote() == "hello ann!hello other!"


def test_exit_runs_when_an_idle_container_is_scaled_down(cls, client):
    """After the scaledown window the container ends by itself and its exit method runs."""
    assert cls("classes", "Greeter")(name="leaver").greet.remote() == "hello leaver!"
    events = modal.Queue.from_name("events", create_if_missing=True, client=client)
    assert events.get(partition="leaver", timeout=60) == "leaver left"


def test_options_make_a_variant(cls):
    """`with_options` runs the class with other settings."""
    other = cls("classes", "Greeter").with_options(max_containers=1, timeout=30)
    assert other(name="opt").greet.remote() == "hello opt!"
