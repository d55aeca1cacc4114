"""The gateway before a real engine process (the Echo stand-in), through the openai client."""

from __future__ import annotations

import asyncio
import json
import os
import posixpath
import signal
import socket
import threading
import time
import urllib.request
from contextlib import suppress
from urllib.parse import unquote

import httpx
import openai
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from modalkit.declare.credentials import BearerKeys
from modalkit.declare.endpoints import Endpoint
from modalkit.engines import Echo, Launch
from modalkit.engines.client_routes import COMMON_ROUTES
from modalkit.errors import EngineError, EngineExitedError
from modalkit.runtime.door import guarded
from modalkit.runtime.door.routes import is_client_route
from modalkit.runtime.engine_host import EngineHost
from modalkit.runtime.gateway import HOP_BY_HOP, Gateway

from .ports import free_port


class Door:
    """An engine host with its gateway on a real port, in a thread with a loop of its own."""

    def __init__(self, engine: Echo, rules: Endpoint) -> None:
        self.port = free_port()
        launch = Launch(model="echo", served_name="echo")
        self.host = EngineHost(engine, launch, timeout_s=60)
        self.host.start()
        app = guarded(Gateway(lambda: self.host.client), rules, COMMON_ROUTES)
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
    opened = Door(Echo(), Endpoint(auth=BearerKeys()))
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
    assert path not in COMMON_ROUTES


def raw_get(port, target, key):
    """The status of a request whose path is sent byte for byte."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        line.sendall(f"{head}Connection: close\r\n\r\n".encode())
        return int(line.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    "target",
    [
        "/v1/models/../../metrics",
        "/v1/models/%2e%2e/%2e%2e/metrics",
        "/v1/models/..%2f..%2fmetrics",
        "/v1/models/%252e%252e/%252e%252e/metrics",
        "/v1/models/.%2e/.%2E/metrics",
        "/v1/models//../metrics",
        "/v1/models/a%3Fb",
        "/v1/models/a%23b",
        "/v1/models/a%0d%0ab",
        "/v1/models/..",
        "/v1/models/",
        "//metrics",
        "/%2e/metrics",
        "/v1/chat/completions/../../../metrics",
    ],
)
def test_no_spelling_of_a_path_reaches_an_administration_route(door, key, target):
    """Dots, slashes and double encoding are refused before the engine is asked."""
    assert raw_get(door.port, target, key) == 404


def test_a_model_may_be_asked_for_by_its_name(door, key):
    """The route of one model passes, slashes in its name included."""
    assert raw_get(door.port, "/v1/models/echo", key) == 200
    assert is_client_route("/v1/models/Qwen/Qwen3-8B", COMMON_ROUTES)
    assert is_client_route("/v1/models/a..b", COMMON_ROUTES)


@given(st.text(alphabet="ab./%2eE\\?#:@", max_size=12))
def test_law_a_public_path_means_itself(tail):
    """Whatever follows /v1/models/, a public path is not changed by decoding or normalising."""
    path = f"/v1/models/{tail}"
    if is_client_route(path, COMMON_ROUTES):
        assert unquote(path) == path
        assert posixpath.normpath(path) == path


def test_the_engine_does_not_get_the_key(door, key):
    """The Authorization header ends at the gateway."""
    assert "authorization" in HOP_BY_HOP
    assert client(door, key).models.list().data


def test_a_request_that_is_cancelled_ends_its_generation(key):
    """When the platform ends a request, at its timeout say, the engine stops too."""
    door = Door(Echo(delay_ms=200), Endpoint(auth=BearerKeys()))
    sent: list[dict] = []

    async def scenario():
        gateway, streaming = Gateway(lambda: door.host.client), asyncio.Event()
        body = {"messages": [{"role": "user", "content": "word " * 500}], "stream": True}
        parts = [{"type": "http.request", "body": json.dumps({**body, "model": "echo"}).encode()}]
        scope = {
            "type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }  # fmt: skip

        async def receive():
            if parts:
                return parts.pop()
            return await asyncio.get_running_loop().create_future()

        async def send(message):
            sent.append(message)
            if len(sent) == 3:
                streaming.set()

        request = asyncio.create_task(gateway(scope, receive, send))
        await streaming.wait()
        request.cancel()
        with suppress(asyncio.CancelledError):
            await request
        await door.host.client.close()

    try:
        asyncio.run(scenario())
        deadline = time.monotonic() + 20
        while door.metric("modalkit_requests_running") > 0:
            assert time.monotonic() < deadline, "the generation goes on without a request"
            time.sleep(0.05)
    finally:
        door.close()


def test_health_needs_no_key(door):
    """A probe can ask whether the service is up."""
    assert httpx.get(f"{door.url}/health").status_code == 200


def test_a_client_that_leaves_ends_its_generation(key):
    """Closing a stream frees the engine long before the answer would have ended."""
    door = Door(Echo(delay_ms=200), Endpoint(auth=BearerKeys()))
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
    door = Door(Echo(delay_ms=100), Endpoint(auth=BearerKeys()))
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
    os.kill(door.host._process.pid, signal.SIGKILL)
    assert door.host._process.ended_within(30)
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
    other = Door(Echo(), Endpoint(auth=BearerKeys()))
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
