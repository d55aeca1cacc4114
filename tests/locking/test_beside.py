"""LoRA adapters and draft models in the lock: their commit, their files, held at prefetch and at start."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modalkit import VLLM, GPUProfile, LoRA, ModelService, WeightCache, plan_service
from modalkit.errors import WeightsError
from modalkit.lock import LockedService, read_lock, write_lock
from modalkit.prefetch.fill import fill
from modalkit.prefetch.hub_source import HubSource
from modalkit.prefetch.wanted import wanted_models
from modalkit.runtime.prefetched import find_prefetched
from modalkit.runtime.verify import weights_of

from .apps import lock

APP = """
import modal
from modalkit import VLLM, GPUProfile, LoRA, ModelService, WeightCache, serve

app = modal.App("shop")

@serve(app)
class Chat(ModelService):
    model = "org/model"
    engine = VLLM(lora=[LoRA("sql", "org/sql")])
    gpu = GPUProfile("L4")
    weights = WeightCache("shop")
"""
QWEN = {
    "model_type": "qwen3", "hidden_size": 64, "intermediate_size": 128, "head_dim": 16,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512,
    "max_position_embeddings": 512, "torch_dtype": "bfloat16",
}  # fmt: skip
ADAPTER = {
    "adapter_config.json": {"r": 8},
    "adapter_model.safetensors": b"adapter",
    "README.md": b"not read",
}


@pytest.fixture
def app(hub, tmp_path) -> Path:
    """A folder with an app whose model and adapter the stand-in hub has."""
    hub.add("org/model", {"config.json": QWEN, "model.safetensors": b"weights"}, commit="a" * 40)
    hub.add("org/sql", ADAPTER, commit="5" * 40)
    (tmp_path / "chat.py").write_text(APP)
    return tmp_path


def locked(folder: Path) -> LockedService:
    """What is locked for the service."""
    done = lock(folder, "chat.py")
    assert done.returncode == 0, done.stderr
    found = read_lock(folder / "modalkit.lock").service("chat.py", "Chat")
    assert found is not None
    return found


class Chat(ModelService):
    """As the app declares it."""

    model = "org/model"
    engine = VLLM(lora=[LoRA("sql", "org/sql")])
    gpu = GPUProfile("L4")
    weights = WeightCache("shop")


def test_an_adapter_is_locked_with_its_files(app, hub):
    """Commit, sizes and digests of what the engine reads; a branch that moves changes nothing."""
    (adapter,) = locked(app).beside
    assert (adapter.id, adapter.commit) == ("org/sql", "5" * 40)
    files = {file.name: (file.size, file.sha256) for file in adapter.files}
    assert files.keys() == {"adapter_config.json", "adapter_model.safetensors"}
    assert files["adapter_model.safetensors"] == (7, hashlib.sha256(b"adapter").hexdigest())
    hub.repositories["org/sql"].commit = "6" * 40
    assert locked(app).beside == (adapter,)
    moved = f"org/sql: {'5' * 40} -> {'6' * 40}"
    assert moved in lock(app, "chat.py", "--upgrade").stdout


def test_another_adapter_makes_the_lock_stale(app):
    """``--check`` names what is declared now and is not locked."""
    locked(app)
    (app / "chat.py").write_text(APP.replace('"org/sql")', '"org/law")'))
    assert "beside was 'org/sql', is 'org/law'" in lock(app, "chat.py", "--check").stdout


def test_the_locked_adapter_is_fetched_found_and_verified(app, hub, tmp_path):
    """The engine gets the locked commit's folder; a byte that differs ends the start."""
    held = locked(app)
    cache = tmp_path / "cache"
    Chat.weights = WeightCache("shop", mount=str(cache))
    Chat.verify = "sha256"
    plan = plan_service(Chat, held)
    hub.repositories["org/sql"].commit = "6" * 40  # it has moved since; the lock has not
    hub.repositories["org/sql"].branches["old"] = "5" * 40
    for wanted in wanted_models(Chat, plan):
        list(fill(cache, wanted, lambda one=wanted: HubSource(one.model, one.asked)))
    folder = cache / "huggingface/hub/models--org--sql/snapshots" / ("5" * 40)
    assert f"sql={folder}" in plan.engine.argv
    found = find_prefetched(Chat, plan, "modalkit prefetch chat.py")
    weights_of(plan, found).verify()
    (folder / "adapter_model.safetensors").resolve().write_bytes(b"ADAPTER")
    with pytest.raises(WeightsError, match=r"adapter_model\.safetensors of 'org/sql'"):
        weights_of(plan, found).verify()


def test_an_adapter_that_changed_is_not_fetched(app, hub, tmp_path):
    """A file of the locked commit with another digest is refused before a byte of it arrives."""
    plan = plan_service(Chat, locked(app))
    hub.repositories["org/sql"].files["adapter_model.safetensors"] = b"another"
    adapter = wanted_models(Chat, plan)[1]
    with pytest.raises(WeightsError, match=r"adapter_model\.safetensors from the hub has SHA-256"):
        list(fill(tmp_path / "c", adapter, lambda: HubSource(adapter.model, adapter.asked)))


def test_a_draft_model_is_locked_with_what_it_keeps(app, hub):
    """A fit has room for the model that guesses ahead, by its files and its config."""
    hub.add("org/draft", {"config.json": QWEN, "model.safetensors": b"d" * 5000}, commit="d" * 40)
    guess = 'speculative=Speculative(method="draft_model", draft_model="org/draft")'
    text = APP.replace('lora=[LoRA("sql", "org/sql")]', guess)
    (app / "chat.py").write_text(f"from modalkit.engines.speculative import Speculative\n{text}")
    (draft,) = locked(app).beside
    assert draft.total_bytes >= 5000
    assert draft.facts is not None
    assert draft.facts.layers == QWEN["num_hidden_layers"]


@pytest.mark.parametrize(("method", "read"), [("draft_model", True), ("eagle3", False)])
def test_a_draft_model_locked_without_its_config_is_read_again(app, hub, method, read):
    """A lock from before configs were read is filled in, at its commit; a head's cache needs none."""
    hub.add("org/draft", {"config.json": QWEN, "model.safetensors": b"d" * 5000}, commit="d" * 40)
    guess = f'speculative=Speculative(method="{method}", draft_model="org/draft")'
    text = APP.replace('lora=[LoRA("sql", "org/sql")]', guess)
    (app / "chat.py").write_text(f"from modalkit.engines.speculative import Speculative\n{text}")
    (draft,) = locked(app).beside
    path, key = app / "modalkit.lock", "chat.py:Chat"
    held = read_lock(path)
    older = {"beside": (draft.model_copy(update={"facts": None}),)}
    services = {key: held.services[key].model_copy(update=older)}
    write_lock(held.model_copy(update={"services": services}), path)
    moved = hub.repositories["org/draft"]
    moved.commit, moved.branches["old"] = "e" * 40, "d" * 40
    (again,) = locked(app).beside
    assert again.commit == "d" * 40
    assert again.facts == (draft.facts if read else None)
