"""LoRA adapters: declared, found in the cache at their commit, fetched with the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modalkit import VLLM, GPUProfile, LoRA, ModelService, SGLang, WeightCache, plan_service
from modalkit.engines import Launch
from modalkit.errors import DeclarationError, PlanError, WeightsError
from modalkit.runtime.adapters import with_adapter_folder

COMMIT = "a" * 40
LAUNCH = Launch(model="org/model", served_name="model")


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


def test_an_adapter_on_demand_is_fetched_and_not_loaded_at_the_start():
    """It is among what is locked and prefetched, and in no command line."""
    engine = VLLM(lora=[LoRA("sql", "org/sql"), LoRA("law", "org/law", on_demand=True)])
    argv = engine.argv(LAUNCH)
    assert argv[-3:] == ("--enable-lora", "--lora-modules", "sql=org/sql")
    assert engine.repositories() == {"org/sql": None, "org/law": None}
    only = VLLM(lora=[LoRA("law", "org/law", on_demand=True)], max_lora_rank=64)
    assert only.argv(LAUNCH)[-1] == "--enable-lora"
    assert "VLLM_LORA_RESOLVER_CACHE_DIR" not in only.environment(LAUNCH)
    made = LAUNCH.model_copy(update={"adapter_folder": "/tmp/a"})
    assert only.environment(made)["VLLM_LORA_RESOLVER_CACHE_DIR"] == "/tmp/a"


def test_an_adapter_on_demand_that_cannot_be():
    """No loading by name on SGLang, no second folder, no name with a slash, no cache to load from."""
    on_demand = LoRA("law", "org/law", on_demand=True)
    with pytest.raises(
        DeclarationError, match="Leave on_demand out: all of them lie in the host's"
    ):
        SGLang(lora=[on_demand])
    with pytest.raises(DeclarationError, match="is a second folder beside that of LoRA"):
        VLLM(lora=[on_demand], lora_folder="/adapters")
    with pytest.raises(DeclarationError, match="names a folder of adapters"):
        LoRA("team/law", "org/law", on_demand=True)
    assert LoRA("team/law", "org/law").name == "team/law"

    class Chat(ModelService):
        model = "org/model"
        gpu = GPUProfile("L40S")
        engine = VLLM(lora=[on_demand])

    with pytest.raises(PlanError, match="is loaded from a prefetched cache only"):
        plan_service(Chat)
    Chat.engine = VLLM(lora=[LoRA("law", "/adapters/law", on_demand=True)])
    planned = plan_service(Chat).engine
    assert planned.argv[-1] == "--enable-lora"
    assert planned.on_demand == ("law=/adapters/law",)


def test_the_folder_that_is_made_at_the_start(tmp_path):
    """It has links to each adapter's files under its name, and a configuration that names the model."""
    source = tmp_path / "snapshots" / COMMIT
    source.mkdir(parents=True)
    (source / "adapter_model.safetensors").write_bytes(b"weights")
    (source / "adapter_config.json").write_text('{"r": 8, "base_model_name_or_path": "other/name"}')
    wanted = [LoRA("law", "org/law", on_demand=True), LoRA("sql", "org/sql")]
    launch = LAUNCH.model_copy(update={"adapters": {"law": str(source)}})
    folder = Path(with_adapter_folder(wanted, launch).adapter_folder)
    assert [path.name for path in folder.iterdir()] == ["law"]
    assert (folder / "law" / "adapter_model.safetensors").read_bytes() == b"weights"
    config = json.loads((folder / "law" / "adapter_config.json").read_text())
    assert config == {"r": 8, "base_model_name_or_path": "org/model"}
    assert with_adapter_folder(wanted[1:], launch) is launch
    (source / "adapter_config.json").unlink()
    with pytest.raises(
        WeightsError, match=r"LoRA\('law'\) is not an adapter: .*adapter_config.json"
    ):
        with_adapter_folder(wanted, launch)


@pytest.mark.parametrize("config", ["[]", '"r"', "8", "null", "{"])
def test_a_configuration_that_is_no_object_is_of_no_adapter(tmp_path, config):
    """Other JSON is told as what it is, with the file; an empty object is read."""
    wanted = [LoRA("law", "org/law", on_demand=True)]
    launch = LAUNCH.model_copy(update={"adapters": {"law": str(tmp_path)}})
    (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(
        WeightsError, match=r"LoRA\('law'\) is not an adapter: .*adapter_config.json"
    ):
        with_adapter_folder(wanted, launch)
    (tmp_path / "adapter_config.json").write_text("{}")
    assert with_adapter_folder(wanted, launch).adapter_folder


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
