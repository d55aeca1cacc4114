"""LoRA adapters: declared, found in the cache at their commit, fetched with the model."""

from __future__ import annotations

import pytest

from modalkit import VLLM, GPUProfile, LoRA, ModelService, SGLang, WeightCache, plan_service
from modalkit.errors import DeclarationError, PlanError

COMMIT = "a" * 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("my lora", "org/a"), "cannot name an adapter"),
        (("a:b", "org/a"), "cannot name an adapter"),
        (("a", "./adapter"), "is not in the container"),
        (("a", ""), "is not in the container"),
    ],
)
def test_an_adapter_that_cannot_be_loaded_is_refused(arguments, message):
    """A name that no command line takes and a folder of this machine are errors."""
    with pytest.raises(DeclarationError, match=message):
        LoRA(*arguments)


@pytest.mark.parametrize(
    ("source", "revision", "message"),
    [("/cache/a", COMMIT, "source '/cache/a' is a path"), ("org/a", "main", "is not a commit")],
)
def test_a_revision_is_a_commit_of_the_hub(source, revision, message):
    """Only a hub repository has one, and only a whole commit pins it."""
    with pytest.raises(DeclarationError, match=message):
        LoRA("a", source, revision=revision)


@pytest.mark.parametrize("engine", [SGLang, VLLM])
def test_an_adapter_of_a_commit_comes_from_the_cache(engine):
    """Engines take the newest commit of a hub id, so a pinned one is given as its folder."""

    class Chat(ModelService):
        model = "org/model"
        gpu = GPUProfile("L40S")
        weights = WeightCache("w")

    Chat.engine = engine(lora=[LoRA("sql", "org/sql", revision=COMMIT), LoRA("law", "org/law")])
    argv = plan_service(Chat).engine.argv
    assert f"sql=/cache/huggingface/hub/models--org--sql/snapshots/{COMMIT}" in argv
    assert "law=org/law" in argv
    assert Chat.engine.repositories() == {"org/sql": COMMIT, "org/law": None}
    Chat.weights = None
    with pytest.raises(PlanError, match="is kept by a prefetched cache only"):
        plan_service(Chat)


def test_weights_on_a_volume_are_read_ahead():
    """With a cache the engines read files ahead of their loader, unless something else decides."""

    class Chat(ModelService):
        model = "org/model"
        gpu = GPUProfile("L40S")
        weights = WeightCache("w")

    flags = {SGLang: "--weight-loader-prefetch-checkpoints", VLLM: "--safetensors-load-strategy"}
    for engine, flag in flags.items():
        Chat.engine = engine()
        assert flag in plan_service(Chat).engine.argv
        Chat.engine = engine(load_format="dummy")
        assert flag not in plan_service(Chat).engine.argv
        Chat.engine = engine(load_format="fastsafetensors")
        assert '{"enable_gds": false}' in plan_service(Chat).engine.argv
    Chat.engine = VLLM(extra_args=("--safetensors-load-strategy", "eager"))
    assert plan_service(Chat).engine.argv[-2:] == ("--safetensors-load-strategy", "eager")
    Chat.model = "./folder"
    Chat.engine = SGLang()
    assert flags[SGLang] not in plan_service(Chat).engine.argv
