"""vLLM reached directly (``kind="server"``): the door stands in vLLM's own process."""

from __future__ import annotations

from pathlib import Path

import httpx
import modal
import openai
import pytest

from .conftest import KEY

pytestmark = [pytest.mark.engines, pytest.mark.slow]
APPS = Path(__file__).parent / "apps"
PATIENCE_S = 600  # a deadline against hangs, never a measurement
RIGHT = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def url(vllm_modal):
    """Where the deployed service answers, once it does: a server says 503 until then."""
    vllm_modal.command("modal", "deploy", str(APPS / "direct.py"))
    server = modal.Server.from_name("vllm-direct", "Direct", client=vllm_modal.client)
    base = str(server.get_url())
    options = {"max_retries": 1000, "timeout": PATIENCE_S}
    openai.OpenAI(base_url=f"{base}/v1", api_key=KEY, **options).models.list()
    yield base
    vllm_modal.command("modal", "app", "stop", "vllm-direct", "--yes")


def test_the_openai_client_streams(url):
    """The unmodified client chats through the door, and has the request's id."""
    api = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE_S)
    ask = {
        "model": "small-chat",
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        "temperature": 0,
    }
    whole = api.chat.completions.create(**ask, extra_headers={"x-request-id": "one-of-mine"})
    assert "blue light is scattered" in whole.choices[0].message.content
    assert whole._request_id == "one-of-mine"
    assert whole.id.endswith("one-of-mine")
    pieces = [
        chunk.choices[0].delta.content or ""
        for chunk in api.chat.completions.create(**ask, stream=True)
    ]
    assert "".join(pieces) == whole.choices[0].message.content


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_nobody_gets_in_without_the_key(url, headers):
    """Without the key no route of vLLM answers but the probe's, administration included."""
    paths = ("/v1/models", "/tokenize", "/metrics", "/version", "/load", "/sleep", "/docs")
    for path in paths:
        assert httpx.get(url + path, headers=headers, timeout=PATIENCE_S).status_code == 401
    assert httpx.get(f"{url}/health", headers=headers, timeout=PATIENCE_S).status_code == 200


def test_administration_is_closed_to_whoever_holds_the_key(url):
    """Routes that vLLM itself leaves without a key, or opens with it, are not there."""
    for path in (
        "/version",
        "/load",
        "/ping",
        "/invocations",
        "/v1/load_lora_adapter",
        "/openapi.json",
    ):
        assert httpx.post(url + path, headers=RIGHT, timeout=PATIENCE_S).status_code == 404
    metrics = httpx.get(f"{url}/metrics", headers=RIGHT, timeout=PATIENCE_S)
    assert "vllm:" in metrics.text


def test_the_key_is_nowhere_to_be_seen(url, vllm_modal):
    """No command line of this machine, no variable of vLLM and no line of the log has the key."""
    httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {KEY}x"}, timeout=PATIENCE_S)
    processes = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    words = {folder: _read(folder / "cmdline") for folder in processes}
    assert not [folder for folder, line in words.items() if KEY in line]
    engines = [folder for folder, line in words.items() if "EngineDoor" in line]
    vllm = [folder for folder in engines if "guard.py" not in words[folder]]
    assert vllm
    assert not [folder for folder in vllm if KEY in _read(folder / "environ")]
    state = Path(vllm_modal.environment["MODALKIT_LOCAL_STATE"])
    logs = [file for file in state.rglob("*") if file.is_file() and "log" in str(file).lower()]
    said = "".join(_read(file) for file in logs)
    assert "modalkit.access" in said
    assert KEY not in said


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8", "replace")
    except OSError:  # it has ended
        return ""
