"""What each engine's container is made of, and the variables it starts with."""

from __future__ import annotations

import pytest

from modalkit.declare.image import ImageSpec
from modalkit.engines import VLLM, Echo, Launch, SGLang, Transformers

LAUNCH = Launch(model="org/model", served_name="name")


def without_set(image):
    """The image without the step that only holds later ones to the tested set."""
    return ImageSpec(base=image.base, layers=[one for one in image.layers if one.kind != "tested"])


@pytest.mark.parametrize(
    ("engine", "image"),
    [
        (SGLang(), ImageSpec.registry("lmsysorg/sglang:v0.5.23")),
        (
            SGLang(base_image="lmsysorg/sglang@sha256:" + 64 * "0"),
            ImageSpec.registry("lmsysorg/sglang@sha256:" + 64 * "0"),
        ),
        (
            VLLM(),
            ImageSpec.registry("nvidia/cuda:13.0.2-devel-ubuntu24.04", add_python="3.12").uv(
                "vllm==0.33.0"
            ),
        ),
        (
            VLLM(base_image="nvidia/cuda:13.1.0-devel-ubuntu24.04"),
            ImageSpec.registry("nvidia/cuda:13.1.0-devel-ubuntu24.04", add_python="3.12").uv(
                "vllm==0.33.0"
            ),
        ),
        (
            Transformers(),
            ImageSpec(python="3.12").uv("torch==2.13.0", "transformers==5.23.0"),
        ),
        (Echo(), ImageSpec(python="3.12")),
    ],
)
def test_an_engine_brings_its_image(engine, image):
    """The image is the engine's pinned release on its base, or on the base that is named."""
    assert without_set(engine.image()) == image


def test_another_version_is_another_image():
    """The release in the image is the one whose flags were meant."""
    newer = SGLang(version="0.6.0", unchecked_flags=True)
    assert without_set(newer.image()) == ImageSpec.registry("lmsysorg/sglang:v0.6.0")


@pytest.mark.parametrize("declared", [SGLang, VLLM, Transformers])
def test_downloads_run_at_full_speed_unless_told_otherwise(declared):
    """Weights are fetched with every connection there is; the engine's env has the last word."""
    assert declared().environment(LAUNCH) == {"HF_XET_HIGH_PERFORMANCE": "1"}
    slow = declared(env={"HF_XET_HIGH_PERFORMANCE": "0", "A": "b"})
    assert slow.environment(LAUNCH) == {"HF_XET_HIGH_PERFORMANCE": "0", "A": "b"}


def test_echo_starts_with_its_own_variables_only():
    """The stand-in downloads nothing and gets nothing but what it declares."""
    assert Echo(env={"A": "b"}).environment(LAUNCH) == {"A": "b"}


def test_engines_say_what_they_need():
    """SGLang and vLLM need a GPU and bring modalkit's own needs; Echo needs no model."""
    for engine in (SGLang(), VLLM()):
        assert engine.needs_gpu
        assert engine.runtime_included
        assert engine.needs_model
    assert not Transformers().needs_gpu
    assert not Echo().needs_model
    assert (SGLang().ready_path, VLLM().ready_path) == ("/ready", "/health")
