"""The gateway before a real engine process (the Echo stand-in), through the openai client."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import urllib.request

import httpx
import openai
import pytest
import uvicorn

from modalkit.endpoints import Endpoint
from modalkit.engines import Echo, Launch
from modalkit.errors import EngineError, EngineExitedError
from modalkit.runtime.access import guarded
from modalkit.runtime.engine_host import EngineHost
from modalkit.runtime.gateway import PUBLIC_ROUTES, Gateway


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Door:
    """An engine host with its gateway on a real port, in a thread with a loop of its own."""

    def __init__(self, engine: Echo, rules: Endpoint) -> None:
        self.port = free_port()
        launch = Launch(model="echo", served_name="echo")
        self.host = EngineHost(engine, launch, timeout_s=60)
        self.host.start()
        app = guarded(Gateway(lambda: self.host.client), rules)
        config = uvicorn.Config(app, port=self.port, log_level="error", lifespan="off")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.host.stop_process()

    def metric(self, name: str) -> float:
        """A figure of the engine's own, asked without the gateway."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.host.port}/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(name) and line[len(name)] in " {":
                    return float(line.split()[-1])
        raise AssertionError(name)


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("MODALKIT_API_KEY", "right-key")
    return "right-key"


@pytest.fixture
def door(key):
    opened = Door(Echo(), Endpoint())
    yield opened
    opened.close()


def client(door, key, **options):
    return openai.OpenAI(base_url=f"{door.url}/v1", api_key=key, max_retries=0, **options)


def test_the_openai_client_works_unmodified(door, key):
    """Models, chat, streaming, completions and embeddings pass through the gateway."""
    api = client(door, key)
    assert [model.id for model in api.models.list()] == ["echo"]
    messages = [{"role": "user", "content": "one two three"}]
    assert (
        "two"
        in api.chat.completions.create(model="echo", messages=messages).choices[0].message.content
    )
    chunks = list(api.chat.completions.create(model="echo", messages=messages, stream=True))
    assert len(chunks) > 3
    assert api.completions.create(model="echo", prompt="one two").choices[0].text
    assert len(api.embeddings.create(model="echo", input=["a", "b"]).data) == 2


def test_a_wrong_key_is_401(door):
    """A request without the right key is refused before the engine sees it."""
    with pytest.raises(openai.AuthenticationError):
        client(door, "wrong-key").models.list()


def test_errors_keep_their_type(door, key):
    """The engine's own error types reach the client through the gateway."""
    with pytest.raises(openai.NotFoundError):
        client(door, key).chat.completions.create(
            model="other", messages=[{"role": "user", "content": "x"}]
        )
    with pytest.raises(openai.BadRequestError):
        client(door, key).chat.completions.create(model="echo", messages=[])


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/sleep",
        "/v1/load_lora_adapter",
        "/update_weights_from_disk",
        "/",
        "/v1/../sleep",
    ],
)
def test_administration_routes_stay_closed(door, key, path):
    """Routes that are not for clients answer 404 even with the right key."""
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.post(door.url + path, headers=headers).status_code == 404
    assert path not in PUBLIC_ROUTES


def test_health_needs_no_key(door):
    """A probe can ask whether the service is up."""
    assert httpx.get(f"{door.url}/health").status_code == 200


def test_a_client_that_leaves_ends_its_generation(key):
    """Closing a stream frees the engine long before the answer would have ended."""
    door = Door(Echo(delay_ms=200), Endpoint())
    try:
        long_prompt = " ".join(["word"] * 500)  # at 200 ms a word: 100 s
        stream = client(door, key).chat.completions.create(
            model="echo", messages=[{"role": "user", "content": long_prompt}], stream=True
        )
        next(iter(stream))
        stream.close()
        deadline = time.monotonic() + 20
        while door.metric("modalkit_requests_running") > 0:
            assert time.monotonic() < deadline, "the generation goes on without a reader"
            time.sleep(0.05)
    finally:
        door.close()


def test_streams_are_not_buffered(key):
    """The first chunk arrives while the engine is still writing the last."""
    door = Door(Echo(delay_ms=100), Endpoint())
    try:
        started = time.monotonic()
        first = None
        for _ in client(door, key).chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "a b c d e f g h i j"}], stream=True
        ):
            first = first or time.monotonic() - started
        assert first < (time.monotonic() - started) / 2
    finally:
        door.close()


def test_a_dead_engine_is_a_502_and_an_error_with_its_last_lines(door, key):
    """When the engine dies clients get an OpenAI-shaped 502 and methods get its exit code."""
    door.host._process._process.kill()
    door.host._process._process.wait()
    with pytest.raises(openai.InternalServerError) as caught:
        client(door, key).models.list()
    assert caught.value.status_code == 502

    async def ask():
        host = EngineHost(Echo(), Launch(model="echo", served_name="echo"), timeout_s=1)
        host._process = door.host._process
        try:
            await host.client.post("/v1/completions", {"prompt": "x"})
        finally:
            await host.client.close()

    with pytest.raises(EngineExitedError, match="signal 9"):
        asyncio.run(ask())


def test_two_containers_of_one_machine_do_not_meet(door, key):
    """Engines started from the same plan on one network listen on ports of their own."""
    other = Door(Echo(), Endpoint())
    try:
        assert other.host.port != door.host.port
        assert client(other, key).models.list().data
    finally:
        other.close()
    assert client(door, key).models.list().data


def test_an_engine_that_cannot_start_leaves_nothing_behind():
    """A start that times out stops the process it started."""
    host = EngineHost(Echo(), Launch(model="echo", served_name="echo"), timeout_s=0)
    with pytest.raises(EngineError):
        host.start()
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, by platform
        urllib.request.urlopen(f"http://127.0.0.1:{host.port}/health", timeout=2)
