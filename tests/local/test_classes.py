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


def test_concurrent_methods_share_an_instance(cls):
    """Four inputs that wait for each other meet in one instance."""
    assert sorted(cls("classes", "Table")().sit.map(range(4))) == list(range(4))


def test_batched_methods_of_parametrised_classes(cls):
    """Each set of parameters gathers batches of its own."""
    bundle = cls("classes", "Bundler")(suffix="!").bundle
    assert list(bundle.map("abc")) == ["a! of 3", "b! of 3", "c! of 3"]


def test_an_async_exit_method_runs(cls, client):
    """It may call Modal too."""
    assert cls("classes", "AsyncLeaver")().greet.remote() == "hello"
    events = modal.Queue.from_name("events", create_if_missing=True, client=client)
    assert events.get(partition="async-leaver", timeout=60) == "left"


def test_options_set_concurrency_and_batches(cls):
    """`with_concurrency` and `with_batching` lay other settings over a class."""
    table = cls("classes", "Table").with_concurrency(max_inputs=8)
    assert sorted(table().sit.map(range(8))) == list(range(8))
    bundler = cls("classes", "Bundler").with_batching(max_batch_size=2, wait_ms=300)
    assert list(bundler(suffix="?").bundle.map("ab")) == ["a? of 2", "b? of 2"]
