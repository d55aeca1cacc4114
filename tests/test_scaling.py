from __future__ import annotations

import inspect

import modal
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.declare.scaling import Scaling
from modalkit.errors import DeclarationError

FULL = Scaling(
    min_containers=1,
    max_containers=4,
    buffer_containers=1,
    scaledown_window=120,
    concurrency=32,
    target_concurrency=16,
    retries=2,
)


def refused(**fields) -> str:
    with pytest.raises(DeclarationError) as raised:
        Scaling(**fields)
    return str(raised.value)


def test_the_defaults_suit_large_models():
    """Loading has twenty minutes of its own, an input ten, an idle container five."""
    assert Scaling().to_modal() == {
        "min_containers": 0,
        "scaledown_window": 300,
        "timeout": 600,
        "startup_timeout": 1200,
        "single_use_containers": False,
    }


def test_unset_means_left_out():
    """What was not declared is not handed to Modal."""
    assert "max_containers" not in Scaling().to_modal_server()
    assert "retries" not in Scaling().to_modal()
    assert FULL.to_modal()["retries"] == 2


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"min_containers": -1}, "Scaling.min_containers must be at least 0, got -1."),
        ({"max_containers": 0}, "Scaling.max_containers must be at least 1, got 0."),
        ({"scaledown_window": 1}, "must be 2 to 3600 seconds, got 1."),
        ({"scaledown_window": 3601}, "must be 2 to 3600 seconds, got 3601."),
        ({"timeout": 0}, "must be 1 to 86400 seconds, got 0."),
        ({"startup_timeout": 86_401}, "must be 1 to 86400 seconds"),
        ({"timeout": "600"}, "valid integer, got '600'."),
        ({"min_containers": True}, "valid integer, got True."),
        ({"min_containers": 3, "max_containers": 2}, "Raise max_containers to 3."),
        ({"concurrency": 4, "target_concurrency": 8}, "Write a target of at most 4."),
        ({"single_use": True, "concurrency": 4}, "concurrency cannot be 4."),
        ({"target_concurrency": float("inf")}, "must be at least 1, got inf."),
        ({"max_container": 3}, "Did you mean 'max_containers'?"),
    ],
)
def test_impossible_scaling_is_refused(fields, told):
    """A number out of Modal's range, or two that contradict each other, names the remedy."""
    assert told in refused(**fields)


def test_modals_own_limit_of_the_window_is_ours():
    """The client refuses just what we refuse of scaledown_window."""
    app = modal.App()
    for window in (2, 3600):
        app.function(scaledown_window=window, serialized=True, name=f"f{window}")(lambda: None)
    for window in (1, 3601):
        with pytest.raises(modal.exception.InvalidError):
            app.function(scaledown_window=window, serialized=True)(lambda: None)


def test_concurrency_left_open_is_the_callers_choice():
    """The engine's own figure stands in for an open concurrency, and never below the target."""
    assert Scaling().to_modal_concurrent() == {"max_inputs": 1}
    assert Scaling().to_modal_concurrent(chosen=64) == {"max_inputs": 64}
    assert Scaling(concurrency=8).to_modal_concurrent(chosen=64) == {"max_inputs": 8}
    assert Scaling(single_use=True).to_modal_concurrent(chosen=64) == {"max_inputs": 1}
    assert Scaling(target_concurrency=10).to_modal_concurrent(chosen=4) == {
        "max_inputs": 10,
        "target_inputs": 10,
    }


@given(st.integers(1, 500) | st.none(), st.integers(1, 500) | st.none(), st.integers(1, 500))
def test_the_target_never_passes_the_most(concurrency, target, chosen):
    """Whatever is declared, Modal never gets a target above the maximum."""
    if concurrency is not None and target is not None and target > concurrency:
        return
    options = Scaling(concurrency=concurrency, target_concurrency=target).to_modal_concurrent(
        chosen
    )
    assert options.get("target_inputs", 1) <= options["max_inputs"]


def test_fractions_are_for_servers():
    """A fractional target compiles for a server and is refused elsewhere with a whole number."""
    scaling = Scaling(target_concurrency=1.5)
    assert scaling.to_modal_server()["target_concurrency"] == 1.5
    with pytest.raises(DeclarationError, match=r"fractions are only for .* Write 2\."):
        scaling.to_modal_concurrent()


@pytest.mark.parametrize("fields", [{"single_use": True}, {"retries": 1}])
def test_a_server_refuses_what_it_cannot_have(fields):
    """A setting that would have no effect on a server is an error, not silence."""
    with pytest.raises(DeclarationError, match="has no effect on Endpoint"):
        Scaling(**fields).to_modal_server()


def test_modal_knows_every_keyword():
    """Each compiled keyword exists in the installed modal."""
    server = FULL.model_copy(update={"retries": 0}).to_modal_server()
    for options, target in (
        (FULL.to_modal(), modal.App.cls),
        (FULL.to_modal(), modal.App.function),
        (FULL.to_modal_concurrent(), modal.concurrent),
        (server, modal.App.server),
    ):
        assert options.keys() <= inspect.signature(target).parameters.keys()


def test_modal_takes_it():
    """A function and a concurrent class register with the compiled keywords."""
    app = modal.App()
    app.function(**FULL.to_modal(), serialized=True)(lambda: None)

    class Worker:
        @modal.method()
        def work(self) -> None: ...

    concurrent = modal.concurrent(**FULL.to_modal_concurrent())(Worker)
    app.cls(**FULL.to_modal(), serialized=True)(concurrent)
