"""Adapters of the hub on real vLLM: locked, prefetched, and loaded by their names."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import openai
import pytest

from .adapter import make_adapter
from .conftest import KEY

pytestmark = [pytest.mark.engines, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
MODALKIT = str(Path(sys.executable).parent / "modalkit")
PATIENCE_S = 900  # a deadline against hangs, never a measurement


@pytest.fixture
def hub(tmp_path):
    """A stand-in hub with the small chat model and two adapters for a model of another name."""
    sys.path.insert(0, str(ROOT / "tests" / "hub"))
    try:
        from stand_in_hub import stand_in_hub
    finally:
        sys.path.remove(str(ROOT / "tests" / "hub"))
    with stand_in_hub() as running:
        folders = {"acme/small-chat": ROOT / "examples" / "models" / "small-chat"}
        for seed, name in enumerate(("acme/first-lora", "acme/later-lora"), start=1):
            folders[name] = tmp_path / name
            make_adapter(folders[name], seed, base="somebody/small-chat-in-4-bits")
        for name, folder in folders.items():
            files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
            running.add(name, files)
        yield running


def test_an_adapter_is_loaded_when_it_is_asked_for(vllm_modal, hub, tmp_path):
    """Both are locked and fetched with the model; one answers from the start, one from its first request."""
    file = tmp_path / "on_demand.py"
    shutil.copy(ROOT / "tests" / "vllm" / "apps" / "on_demand.py", file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_HUB", hub.url)
        patch.setenv("HF_ENDPOINT", hub.url)
        vllm_modal.command(MODALKIT, "lock", str(file), "--packages", "declared")
        locked = json.loads((tmp_path / "modalkit.lock").read_text())
        beside = locked["services"]["on_demand.py:Chat"]["beside"]
        assert [one["id"] for one in beside] == ["acme/first-lora", "acme/later-lora"]
        told = vllm_modal.command(MODALKIT, "prefetch", str(file), "--json").stdout
        events = [json.loads(line) for line in told.splitlines()]
        assert [one["stage"] for one in events].count("committing") == 1
        assert [one["stage"] for one in events[-3:]] == ["done"] * 3
        asked = len(hub.requests)
        vllm_modal.command("modal", "deploy", str(file))
    url = vllm_modal.url("vllm-on-demand", "Chat.http")
    api = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE_S)
    try:
        assert {model.id for model in api.models.list()} == {"small-chat", "first"}
        answers = {name: ask(api, name) for name in ("small-chat", "first", "later")}
        assert "blue" in answers["small-chat"]
        assert len(set(answers.values())) == 3
        assert {model.id for model in api.models.list()} == {"small-chat", "first", "later"}
        with pytest.raises(openai.NotFoundError):
            ask(api, "not-there")
    finally:
        vllm_modal.command("modal", "app", "stop", "vllm-on-demand", "--yes")
    assert len(hub.requests) == asked


def ask(api, model):
    messages = [{"role": "user", "content": "Why is the sky blue?"}]
    done = api.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=20)
    return done.choices[0].message.content
