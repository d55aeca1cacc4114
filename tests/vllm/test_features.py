"""Adapters, JSON schemas, aliases and a crash on real vLLM, each through the local Modal."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import openai
import pytest

from .adapter import make_adapter
from .conftest import KEY

pytestmark = [pytest.mark.engines, pytest.mark.slow]
APPS = Path(__file__).parent / "apps"
PATIENCE_S = 900  # a deadline against hangs, never a measurement
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Two adapters: one is declared, the other only lies in the folder."""
    folder = tmp_path_factory.mktemp("adapters")
    make_adapter(folder / "shipped", 1)
    make_adapter(folder / "found", 2)
    return folder


@pytest.fixture(scope="module")
def api(vllm_modal, adapters):
    """The unmodified openai client of the deployed service."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_ADAPTERS", str(adapters))
        vllm_modal.command("modal", "deploy", str(APPS / "adapted.py"))
    url = vllm_modal.url("vllm-adapted", "Adapted.http")
    yield openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE_S)
    vllm_modal.command("modal", "app", "stop", "vllm-adapted", "--yes")


def ask(api, model):
    messages = [{"role": "user", "content": "Why is the sky blue?"}]
    done = api.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=20)
    return done.choices[0].message.content


def test_adapters_answer_under_their_names(api):
    """A declared adapter, and one that only lies in the folder, each change the answer their way."""
    answers = {name: ask(api, name) for name in ("small-chat", "shipped", "found")}
    assert "blue" in answers["small-chat"]
    assert len(set(answers.values())) == 3
    with pytest.raises(openai.NotFoundError):
        ask(api, "not-there")


def test_an_alias_is_another_name_of_the_model(api):
    """The model answers the same under every name it is given."""
    assert ask(api, "another-name") == ask(api, "small-chat")


def test_an_answer_follows_its_schema(vllm_modal, api):
    """With a schema the answer is JSON of that schema, over HTTP and through the typed method."""
    chat = vllm_modal.cls("vllm-adapted", "Adapted")()
    said = chat.generate.remote("Why is the sky blue?", schema=SCHEMA, max_tokens=60)
    assert json.loads(said)["colour"] in {"red", "blue"}
    shaped = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    done = api.chat.completions.create(
        model="small-chat",
        messages=[{"role": "user", "content": "Why?"}],
        response_format=shaped,
        max_tokens=60,
    )
    assert set(json.loads(done.choices[0].message.content)) == {"colour"}


def test_administration_of_adapters_stays_closed(api):
    """Nobody outside loads an adapter, with the key neither."""
    with pytest.raises(openai.NotFoundError):
        api.post("/load_lora_adapter", body={"lora_name": "x", "lora_path": "/x"}, cast_to=object)


def engines():
    """The processes on this machine that serve small-chat with an adapter."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "shipped=/adapters/shipped" in line:
            yield int(folder.name)


def test_a_crash_is_survived(api):
    """When the engine is killed its container ends, and the next request starts another."""
    before = ask(api, "small-chat")
    killed = list(engines())
    assert killed
    for process in killed:
        os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            assert ask(api, "small-chat") == before
            break
        except openai.APIError:  # the dying container's last answers
            assert time.monotonic() < deadline
            time.sleep(1)
    assert not set(killed) & set(engines())
