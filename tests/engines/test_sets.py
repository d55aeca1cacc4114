"""Tested sets: one place for versions, and no image that contradicts them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from modalkit import GPUProfile, ImageSpec, ModelService, plan_service
from modalkit.engines import VLLM, SGLang, Transformers
from modalkit.engines.flags import flag_table
from modalkit.engines.sets import engine_set, engine_sets
from modalkit.errors import DeclarationError, PlanError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["sglang", "vllm"])
def test_engine_flags_and_set_are_of_one_release(name):
    """The engine's default, its flag table and its set are the same release."""
    declared = {"sglang": SGLang, "vllm": VLLM}[name]
    assert declared().version == flag_table(name).version == engine_set(name).version


def test_the_transformers_set_is_what_the_tests_run_with():
    """The versions of the Transformers engine are those of this checkout's own constraints."""
    pinned = (ROOT / "scripts" / "constraints.txt").read_text("utf-8").splitlines()
    assert set(engine_set("transformers").requirements) <= set(pinned)
    assert (
        "transformers"
        in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    )


def test_every_set_has_its_date_its_source_and_its_torch():
    """A set says when and what was tried, where it was read, and which PyTorch belongs to it."""
    for one in engine_sets().values():
        assert one.tested_on >= "2026-11-21"
        assert one.tested
        assert one.source
        assert f"torch=={one.torch}" in one.requirements
        assert any(Requirement(text).name == "transformers" for text in one.requirements)


@pytest.mark.parametrize(
    ("engine", "pin", "held"),
    [
        (SGLang(), "torch==2.13.0", "torch==2.14.1"),
        (SGLang(), "sglang==0.5.22", "sglang==0.5.23"),
        (SGLang(), "flashinfer-python==0.6.0", "flashinfer_python==0.7.2"),
        (VLLM(), "transformers==5.23.0", "transformers<5.21.0,>=5.16.1"),
        (Transformers(), "torch>=2.14", "torch==2.13.0"),
    ],
)
def test_a_pin_that_contradicts_the_set_is_refused(engine, pin, held):
    """A requirement that the engine's set rules out is refused, with both and the set's date."""
    for image in (engine.image(), ImageSpec.engine().pip(pin)):
        with pytest.raises(DeclarationError) as refused:
            image.on(engine.image()) if image.extends_engine else image.pip(pin)
        assert f"{pin!r} contradicts {held!r} of {engine.title}" in str(refused.value)
        assert "a set tested on 2026-" in str(refused.value)


def test_what_the_set_allows_is_let_through():
    """Packages that the set does not name, and versions it allows, are installed as ever."""
    image = VLLM().image().pip("transformers==5.20.0", "my-plugin==1.0", "torch")
    assert image.layers[-1].requirements == ("transformers==5.20.0", "my-plugin==1.0", "torch")


def test_another_release_is_not_held_to_the_set():
    """The set says nothing of a release that was not tested."""
    newer = SGLang(version="0.6.0", unchecked_flags=True)
    assert newer.image().pip("torch==2.15.0").layers


def test_a_service_hears_of_it_with_everything_else():
    """A plan lists the contradiction beside its other problems."""

    class Chat(ModelService):
        engine = SGLang()
        gpu = GPUProfile("L40S")
        image = ImageSpec.engine().pip("torch==2.13.0")

    with pytest.raises(PlanError) as refused:
        plan_service(Chat)
    assert "needs a model" in str(refused.value)
    assert "'torch==2.13.0' contradicts 'torch==2.14.1'" in str(refused.value)
