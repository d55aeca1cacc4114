"""Every example, through the real CLI and the real container entrypoint."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import openai
import pytest

from .conftest import KEY, PATIENCE_S, ROOT

pytestmark = pytest.mark.slow
EXAMPLES = ROOT / "examples"


def client(url: str, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=PATIENCE_S)


def wait_for(url: str) -> None:
    """Ask until the endpoint's container has started."""
    deadline = time.monotonic() + PATIENCE_S
    while httpx.get(f"{url}/health", timeout=PATIENCE_S).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_chat_answers_in_the_terminal(local_modal, models):
    """`modal run examples/chat.py` streams a sensible answer and says how long it took."""
    said = local_modal.run("modal", "run", "examples/chat.py", "--prompt", "Why is the sky blue?")
    assert "blue" in said.partition("chat  ")[2]
    assert "first word after" in said


def test_chat_answers_the_openai_client(local_modal, models):
    """A deployed service serves the unmodified openai client: every route, and its errors."""
    messages = [{"role": "user", "content": "Why is the sky blue?"}]
    with local_modal.deployed("examples/chat.py") as url:
        wait_for(url)
        api = client(url)
        assert [model.id for model in api.models.list()] == ["small-chat"]
        ask = {"model": "small-chat", "messages": messages, "temperature": 0}
        whole = api.chat.completions.create(**ask)
        assert "blue" in whole.choices[0].message.content
        chunks = list(
            api.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        assert "".join(pieces) == whole.choices[0].message.content
        assert chunks[-1].usage == whole.usage
        assert len([piece for piece in pieces if piece]) > 5
        assert api.completions.create(model="small-chat", prompt="The sky", max_tokens=4).choices
        with pytest.raises(openai.AuthenticationError):
            client(url, "wrong").models.list()
        with pytest.raises(openai.NotFoundError):
            api.chat.completions.create(model="gpt-5", messages=messages)
        with pytest.raises(openai.BadRequestError) as caught:
            api.chat.completions.create(**ask, response_format={"type": "json_object"})
        assert caught.value.param == "response_format"


def test_a_service_finds_its_gpu(local_modal, models):
    """A fit is worked out from the folder's config, on this machine and again in the container."""
    said = local_modal.run("modal", "run", "examples/fitted.py")
    assert "asks for gpu=T4" in said
    assert "blue" in said


def test_embeddings_equal_sentence_transformers(local_modal, models):
    """The real MiniLM's vectors over HTTP equal sentence-transformers' own to 1e-5."""
    from sentence_transformers import SentenceTransformer

    sentences = ["How do I reset my password?", "Der Himmel ist blau.", "x" * 2000, "a"]
    expected = SentenceTransformer(str(models / "all-MiniLM-L6-v2"), device="cpu").encode(sentences)
    with local_modal.deployed("examples/embeddings.py") as url:
        wait_for(url)
        answer = client(url).embeddings.create(model="all-MiniLM-L6-v2", input=sentences)
    for row, vector in zip(answer.data, expected, strict=True):
        assert math.dist(row.embedding, vector) < 1e-5


def test_embeddings_in_the_terminal(local_modal, models):
    """`modal run examples/embeddings.py` finds the sentence that means the same."""
    said = local_modal.run("modal", "run", "examples/embeddings.py")
    near, far = (line for line in said.splitlines() if "'" in line and line.lstrip()[:1] in "-0")
    assert "login" in near
    assert float(near.split()[0]) > 0.5 > float(far.split()[0])


def test_the_classifier_answers_remote_and_http(local_modal):
    """The custom service gives the same answers by .map and over its typed route."""
    said = local_modal.run("modal", "run", "examples/classifier.py")
    assert "praise" in said
    assert "complaint" in said
    headers = {"Authorization": f"Bearer {KEY}"}
    with local_modal.deployed("examples/classifier.py", "serve") as url:
        wait_for(url)
        body = {"text": "I love it, wonderful!"}
        answer = httpx.post(f"{url}/classify", json=body, headers=headers, timeout=60)
        assert answer.json()["label"] == "praise"
        assert httpx.post(f"{url}/classify", json=body, timeout=60).status_code == 401
        wrong = httpx.post(f"{url}/classify", json={"text": ""}, headers=headers, timeout=60)
        assert wrong.status_code == 422
        assert wrong.json()["detail"][0]["loc"] == ["body", "text"]
        schema = httpx.get(f"{url}/openapi.json", headers=headers, timeout=60).json()
        assert "/classify" in schema["paths"]


def test_plain_modal_keeps_what_it_writes(local_modal):
    """The builders work in plain Modal code: a Volume remembers between runs."""
    local_modal.run("modal", "run", "examples/plain_modal.py", "--word", "first")
    said = local_modal.run("modal", "run", "examples/plain_modal.py", "--word", "second")
    assert "first, second" in said


COMPILE = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("example", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["example"] = module
spec.loader.exec_module(module)
print(json.dumps(type(module.Qwen).__name__))
"""


@pytest.mark.parametrize(
    ("name", "kind"), [("sglang_qwen.py", "Cls"), ("vllm_server.py", "Server")]
)
def test_engines_for_modals_gpus_compile(name, kind):
    """The SGLang and vLLM examples register on their app as what Modal calls them."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, str(EXAMPLES / name)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == kind


def test_deploying_an_engine_example_creates_it(local_modal):
    """`modal deploy` of the SGLang example creates its class here too; only a call needs a GPU."""
    said = local_modal.run("--exit", "modal", "deploy", "examples/sglang_qwen.py")
    assert "Created Function Qwen" in said


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ('WeightCache("qwen3")', "Serving never downloads. Run: modalkit prefetch"),
        ('WeightCache("qwen3", fill="start")', "No module named 'sglang'"),
    ],
)
def test_what_is_missing_is_said(local_modal, tmp_path, weights, said):
    """Without its weights a container names the command; without SGLang, the engine's last line."""
    file = tmp_path / "sglang_qwen.py"
    text = (EXAMPLES / "sglang_qwen.py").read_text()
    file.write_text(text.replace('WeightCache("qwen3")', weights))
    done = subprocess.run(
        [*local_modal.command, "modal", "run", str(file)],
        env={**local_modal.environment, "COLUMNS": "400"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode != 0
    assert said in done.stdout + done.stderr


def test_a_missing_key_names_the_command(local_modal):
    """Without a key the service is not opened; the error says how to make the Secret."""
    bare = {
        name: value for name, value in local_modal.environment.items() if name != "MODALKIT_API_KEY"
    }
    done = subprocess.run(
        [*local_modal.command, "modal", "run", "examples/classifier.py"],
        env=bare,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode != 0
    assert "modal secret create modalkit-api-key" in done.stdout + done.stderr


METHODS = """
import asyncio

import modal
from modalkit import Echo, ModelService, serve

app = modal.App("methods")

@serve(app)
class Chat(ModelService):
    engine = Echo()
    api = None
    tone: str = modal.parameter(default="calm")

    @modal.method()
    def own(self) -> str:
        return self.tone

@app.local_entrypoint()
def main() -> None:
    chat = Chat(tone="loud")
    print("own", chat.own.remote())
    print("generate", chat.generate.remote("one two"))
    print("aio", asyncio.run(chat.generate.remote.aio("three")))
    print("map", list(chat.generate.map(["four", "five"])))
    print("spawn", chat.generate.spawn("six").get())
    print("chat", chat.chat.remote([{"role": "user", "content": "seven"}]).text)
    print("stream", list(chat.stream.remote_gen("eight nine")))
    print("embed", len(chat.embed.remote(["ten"])[0]) > 0)
    try:
        chat.chat.remote([])
    except Exception as error:
        print("refused", type(error).__name__, error.status)
"""


def test_remote_methods_are_modals_own(local_modal, tmp_path):
    """remote, map, spawn, aio, generators, parameters and errors work on an engine service."""
    file = tmp_path / "methods.py"
    file.write_text(METHODS)
    said = local_modal.run("modal", "run", str(file))
    for line in (
        "own loud",
        "generate one two",
        "aio three",
        "map ['four', 'five']",
        "spawn six",
        "chat seven",
        "stream ['eight', ' nine']",
        "embed True",
        "refused EngineRequestError 400",
    ):
        assert line in said, said


SERVER = """
import modal
from modalkit import BearerKeys, Echo, Endpoint, ModelService, serve

app = modal.App("servers")

@serve(app)
class Chat(ModelService):
    engine = Echo()
    api = Endpoint(kind="server", port=8123, auth=BearerKeys())
"""

CUSTOM_SERVER = """
import modal
from modalkit import Batch, BearerKeys, Endpoint, ModelService, endpoint, serve

app = modal.App("servers")

@serve(app)
class Lengths(ModelService):
    api = Endpoint(kind="server", port=8124, auth=BearerKeys())

    async def load(self) -> None:
        self.unit = "characters"

    @endpoint("/measure", batch=Batch(8))
    def measure(self, texts: list[str]) -> list[str]:
        return [f"{len(text)} {self.unit}" for text in texts]
"""


def test_low_latency_servers_ask_for_the_key_themselves(local_modal, tmp_path):
    """Endpoint(kind="server") reaches the engine's own port, which refuses a wrong key."""
    file = tmp_path / "server.py"
    file.write_text(SERVER)
    with local_modal.deployed(file) as url:
        wait_for(url)
        assert [model.id for model in client(url).models.list()] == ["Chat"]
        with pytest.raises(openai.AuthenticationError):
            client(url, "wrong").models.list()


def test_a_custom_service_can_be_a_server(local_modal, tmp_path):
    """A custom model behind Endpoint(kind="server") answers its typed routes."""
    file = tmp_path / "custom.py"
    file.write_text(CUSTOM_SERVER)
    with local_modal.deployed(file) as url:
        wait_for(url)
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = httpx.post(f"{url}/measure", json="hello", headers=headers, timeout=60)
        assert answer.json() == "5 characters"
        assert httpx.post(f"{url}/measure", json="hello", timeout=60).status_code == 401


def test_examples_are_short_and_explained():
    """An example is a screen or two, and its first lines say how to run it."""
    for path in sorted(EXAMPLES.glob("*.py")):
        if path.name == "make_models.py":
            continue
        text = path.read_text()
        assert len(text.splitlines()) <= 90, path.name
        assert "modal run" in text or "modal deploy" in text, path.name
    assert os.access(ROOT / "scripts" / "quickstart", os.X_OK)
    assert Path(EXAMPLES / "make_models.py").is_file()
