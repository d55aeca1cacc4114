"""A chat service on real vLLM: one cold start, then everything a client does."""

from __future__ import annotations

from pathlib import Path

import httpx
import openai
import pytest

from .conftest import KEY

pytestmark = [pytest.mark.engines, pytest.mark.slow]
APPS = Path(__file__).parent / "apps"
PATIENCE_S = 600  # a deadline against hangs, never a measurement
ASK = {
    "model": "small-chat",
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    "temperature": 0,
}


@pytest.fixture(scope="module")
def url(vllm_modal):
    """Where the deployed service answers."""
    vllm_modal.command("modal", "deploy", str(APPS / "chat.py"))
    yield vllm_modal.url("vllm-chat", "Chat.http")
    vllm_modal.command("modal", "app", "stop", "vllm-chat", "--yes")


@pytest.fixture(scope="module")
def api(url):
    """The unmodified openai client, which waits for the cold start."""
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE_S)


def test_vllm_answers_the_openai_client(api):
    """The deployed service starts vLLM, and its answer and its stream say the same."""
    whole = api.chat.completions.create(**ASK).choices[0].message.content
    assert "blue light is scattered" in whole
    chunks = api.chat.completions.create(**ASK, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole


def test_vllm_is_asked_through_remote_methods(vllm_modal, api):
    """The typed remote methods reach the same engine."""
    chat = vllm_modal.cls("vllm-chat", "Chat")()
    whole = chat.generate.remote("Why is the sky blue?", temperature=0)
    assert whole == api.chat.completions.create(**ASK).choices[0].message.content
    assert "".join(chat.stream.remote_gen("Why is the sky blue?", temperature=0)) == whole


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_nobody_gets_in_without_the_key(url, headers):
    """Without the key, or with another, no route of the engine answers."""
    for path in ("/v1/models", "/tokenize", "/metrics", "/version", "/sleep"):
        assert httpx.get(url + path, headers=headers, timeout=PATIENCE_S).status_code == 401


def test_administration_stays_closed(url):
    """With the key too, only routes for clients reach the engine."""
    headers = {"Authorization": f"Bearer {KEY}"}
    for path in ("/sleep", "/wake_up", "/collective_rpc", "/v1/load_lora_adapter", "/version"):
        assert httpx.post(url + path, headers=headers, timeout=PATIENCE_S).status_code == 404
