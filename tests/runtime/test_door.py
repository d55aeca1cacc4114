"""The door before an app, on a real server: what passes, what is said, and what the app is told."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager, suppress

import httpx
import pytest
import uvicorn
import websockets
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from modalkit import CORS, BearerKeys, Endpoint, ProxyAuth
from modalkit.runtime.door import guarded
from modalkit.runtime.door.door import Door
from modalkit.runtime.door.rates import Rates
from modalkit.runtime.keys import KeyRing

KEYS = "old-key,new-key"
ROUTES = frozenset({"/v1/chat/completions", "/v1/models"})
CHAT = "/v1/chat/completions"


async def tell(request):
    """Answer with what arrived."""
    body = await request.body()
    return JSONResponse({"headers": dict(request.headers), "size": len(body)})


def engine():
    """An app with routes of every kind, and the open CORS that engines have."""
    paths = (CHAT, "/v1/models", "/health", "/metrics", "/sleep", "/docs")
    anyone = Middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True)
    return Starlette(
        routes=[Route(path, tell, methods=["GET", "POST"]) for path in paths], middleware=[anyone]
    )


@contextmanager
def door(rules: Endpoint, routes=ROUTES):
    """A client of a server with the door in front of the engine."""
    with serving(guarded(engine(), rules, routes)) as client:
        yield client


@contextmanager
def serving(app):
    """A client of a server with an app."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client
    server.should_exit = True
    thread.join()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("MODALKIT_API_KEY", KEYS)


def keyed(**fields) -> Endpoint:
    return Endpoint(auth=BearerKeys(), **fields)


# ── who ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (bearer("old-key"), 200),
        (bearer("new-key"), 200),
        ({"Authorization": "bearer new-key"}, 200),
        ({"x-api-key": "new-key"}, 200),
        ({"x-api-key": "new-key", **bearer("wrong")}, 401),
        (bearer("old-key,new-key"), 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "new-key"}, 401),
        ({"Authorization": "Basic new-key"}, 401),
        ({"x-api-key": ""}, 401),
    ],
)
def test_any_of_the_keys_opens_and_nothing_else(headers, status):
    """A key is good as Bearer token or as Anthropic's header, whole and alone."""
    with door(keyed()) as client:
        answer = client.get("/v1/models", headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert "key" not in "".join(headers.values()) or "new-key" not in answer.text


@given(st.binary(max_size=40))
def test_law_only_a_known_key_has_a_fingerprint(sent):
    """Whatever bytes are sent, they have a fingerprint just when they are one of the keys."""
    ring = KeyRing.of(["alpha", "beta"])
    assert (ring.fingerprint(b"Bearer " + sent) is not None) == (
        sent.strip() in {b"alpha", b"beta"}
    )


@pytest.mark.parametrize("rules", [Endpoint(), Endpoint(public=True)])
def test_where_no_key_is_declared_none_is_asked(rules):
    """Behind Modal's tokens, and in public, requests pass without a key; routes stay closed."""
    with door(rules) as client:
        assert client.get("/v1/models").status_code == 200
        assert client.post("/sleep").status_code == 404


def test_with_both_credentials_the_key_is_asked_behind_modals_edge():
    """Modal checks its tokens; what comes through still needs the key."""
    with door(Endpoint(auth=[ProxyAuth(), BearerKeys()])) as client:
        assert client.get("/v1/models").status_code == 401
        assert client.get("/v1/models", headers=bearer("new-key")).status_code == 200


def test_a_websocket_is_refused():
    """No engine route over a websocket is for clients."""
    with (
        TestClient(guarded(engine(), keyed(), ROUTES)) as client,
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/v1/models", headers=bearer("new-key")),
    ):
        pass


async def breaking(scope, receive, send):
    """An app whose WebSocket fails: before it is opened, after its first message, or after its close."""
    await receive()
    if scope["path"] != "/before":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "one"})
    if scope["path"] == "/after":
        await send({"type": "websocket.close", "code": 1000})
    msg = "an app's own mistake"
    raise ValueError(msg)


class Statuses:
    """An observer that keeps how visits ended."""

    def __init__(self):
        self.ended = []

    def arrived(self, visit): ...

    def left(self, visit):
        self.ended.append((visit.path, visit.status, visit.failed))


def test_a_websocket_whose_app_fails_is_closed_with_1011():
    """The client is told by the code for it, and the door counts what the client saw."""
    seen = Statuses()
    app = Door(breaking, Endpoint(public=True), None, observers=[seen])

    async def ended(path):
        async with websockets.connect(f"{url}{path}") as socket_:
            with suppress(websockets.ConnectionClosed):
                while True:
                    assert await socket_.recv() == "one"
            return socket_.close_code

    with serving(app) as client:
        url = str(client.base_url).replace("http", "ws", 1)
        assert asyncio.run(asyncio.wait_for(ended("/during"), 60)) == 1011
        assert asyncio.run(asyncio.wait_for(ended("/after"), 60)) == 1000
        with pytest.raises(websockets.InvalidStatus):
            asyncio.run(asyncio.wait_for(ended("/before"), 60))
    # The server has stopped, so whatever it did has ended.
    assert seen.ended == [("/during", 1011, True), ("/after", 1000, False), ("/before", 1011, True)]


# ── what ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("exposure", "stranger", "client_status"),
    [("open", 200, 200), ("key", 401, 200), ("closed", 401, 404)],
)
@pytest.mark.parametrize("route", ["health", "metrics"])
def test_health_and_metrics_are_a_choice(route, exposure, stranger, client_status):
    """Each is open to all whom Modal lets in, to keys, or to nobody."""
    with door(keyed(**{route: exposure})) as client:
        assert client.get(f"/{route}").status_code == stranger
        assert client.get(f"/{route}", headers=bearer("new-key")).status_code == client_status


def test_by_default_health_is_open_and_metrics_are_closed():
    """A probe needs no key, and what a service does is nobody's business."""
    with door(keyed()) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/metrics", headers=bearer("new-key")).status_code == 404
        assert client.get("/metrics/", headers=bearer("new-key")).status_code == 404


def test_the_documentation_of_an_engine_is_not_open():
    """`/docs` is open where it is modalkit's page, and closed where it is an engine's."""
    with door(keyed()) as client:
        assert client.get("/docs", headers=bearer("new-key")).status_code == 404
    with door(keyed(), routes=None) as client:
        assert client.get("/docs").status_code == 200


def test_the_app_is_told_neither_key_nor_origin():
    """Credentials and what CORS has answered end at the door."""
    sent = {
        **bearer("new-key"),
        "x-api-key": "new-key",
        "Modal-Key": "wk-1",
        "Modal-Secret": "ws-1",
        "Origin": "https://a.example",
        "x-other": "kept",
    }
    with door(keyed()) as client:
        seen = client.get("/v1/models", headers=sent).json()["headers"]
    assert seen["x-other"] == "kept"
    gone = {"authorization", "x-api-key", "modal-key", "modal-secret", "origin"}
    assert not gone & set(seen)


def test_a_path_moves_every_route():
    """Below a path the same routes answer; beside it there is nothing."""
    with door(keyed(path="/llm")) as client:
        client.headers.update(bearer("new-key"))
        assert client.get("/llm/v1/models").status_code == 200
        assert client.get("/llm/sleep").status_code == 404
        assert client.get("/v1/models").status_code == 404
        assert client.get("/llmv1/models").status_code == 404


# ── web pages ───────────────────────────────────────────────────────────────────────────────────


def test_only_declared_pages_may_read_an_answer():
    """The engine's own CORS, open to every page, never speaks; the declared rules do."""
    friend, stranger = {"Origin": "https://a.example"}, {"Origin": "https://evil.example"}
    with door(keyed()) as client:
        client.headers.update(bearer("new-key"))
        assert "access-control-allow-origin" not in client.get("/v1/models", headers=friend).headers
    with door(keyed(cors=CORS("https://a.example"))) as client:
        client.headers.update(bearer("new-key"))
        answer = client.get("/v1/models", headers=friend)
        assert answer.headers.get_list("access-control-allow-origin") == ["https://a.example"]
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        refused = client.get("/v1/models", headers=stranger)
        assert "access-control-allow-origin" not in refused.headers


def test_an_error_can_be_read_by_a_declared_page():
    """A page is told that its key is wrong, not only that something failed."""
    with door(keyed(cors=CORS("https://a.example"))) as client:
        answer = client.get("/v1/models", headers={"Origin": "https://a.example"})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "https://a.example"


# ── how much ────────────────────────────────────────────────────────────────────────────────────


def test_a_rate_is_held_for_each_key():
    """A key that has used up its minute is told when to come back; another's is its own."""
    with door(keyed(rate_limit_per_minute=3)) as client:
        answers = [client.get("/v1/models", headers=bearer("old-key")) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        last = answers[-1]
        assert last.json()["error"]["type"] == "rate_limit_error"
        assert 1 <= int(last.headers["retry-after"]) <= 20
        assert client.get("/v1/models", headers=bearer("new-key")).status_code == 200
        assert client.get("/health").status_code == 200


def test_whoever_watches_a_service_is_not_counted():
    """Probes that carry a key take nothing of its rate, and are answered when that is used up."""
    with door(keyed(rate_limit_per_minute=1, health="key", metrics="key")) as client:
        for _ in range(3):
            assert client.get("/health", headers=bearer("old-key")).status_code == 200
            assert client.get("/metrics", headers=bearer("old-key")).status_code == 200
        asked = [client.get("/v1/models", headers=bearer("old-key")) for _ in range(2)]
        assert [answer.status_code for answer in asked] == [200, 429]
        assert client.get("/health", headers=bearer("old-key")).status_code == 200


@given(
    st.integers(1, 600),
    st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=60),
)
def test_law_no_span_lets_more_through_than_declared(per_minute, pauses):
    """Over any span at most a minute's worth at once and the steady rate pass."""
    now = 0.0
    rates = Rates(per_minute, clock=lambda: now)
    passed: list[float] = []
    for pause in pauses:
        now += pause
        if rates.wait_s("key") == 0:
            passed.append(now)
    for index, start in enumerate(passed):
        count = len([when for when in passed[index:] if when <= now])
        assert count <= per_minute + (now - start) * per_minute / 60 + 1e-6


@given(st.integers(1, 600))
def test_law_whoever_waits_as_told_gets_in(per_minute):
    """After the seconds of a refusal the next request passes."""
    now = 0.0
    rates = Rates(per_minute, clock=lambda: now)
    while not (wait := rates.wait_s("key")):
        pass
    now += wait
    assert rates.wait_s("key") == 0


MIB = 1024 * 1024


@pytest.mark.parametrize(("size", "status"), [(MIB, 200), (MIB + 1, 413)])
def test_a_body_is_held_to_its_limit(size, status):
    """A body that announces its length is refused before it is read, a byte above the limit."""
    with door(keyed(max_body_mib=1)) as client:
        answer = client.post(CHAT, content=b"x" * size, headers=bearer("new-key"))
        assert answer.status_code == status
        if status == 413:
            assert answer.json()["error"]["code"] == "request_too_large"
            assert "Endpoint(max_body_mib=...)" in answer.text


@pytest.mark.parametrize(("count", "status"), [(16, 200), (17, 413)])
def test_a_body_without_a_length_is_held_to_it_too(count, status):
    """A body sent in pieces is cut off when it passes the limit."""
    pieces = (b"x" * (MIB // 16) for _ in range(count))
    with door(keyed(max_body_mib=1)) as client:
        answer = client.post(CHAT, content=pieces, headers=bearer("new-key"))
        assert answer.status_code == status


# ── what is written down ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("my-id.1:a_B", True), ("", False), ("a b", False), ("x" * 129, False), ("x" * 128, True)],
)
def test_a_request_has_one_id_in_and_out(sent, kept):
    """A plain id of the client's goes to the app and comes back; any other is replaced."""
    with door(keyed()) as client:
        answer = client.get("/v1/models", headers={**bearer("new-key"), "x-request-id": sent})
    (given_back,) = answer.headers.get_list("x-request-id")
    assert (given_back == sent) == kept
    assert answer.json()["headers"]["x-request-id"] == given_back


def test_refusals_have_an_id_too():
    """An answer of the door's own carries the id, so that it can be found in the log."""
    with door(keyed()) as client:
        assert client.get("/v1/models", headers={"x-request-id": "abc"}).status_code == 401
        answer = client.get("/v1/models", headers={"x-request-id": "abc"})
        assert answer.headers["x-request-id"] == "abc"


def lines(captured: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in captured.splitlines() if line.startswith('{"log"')]


def test_each_request_is_one_line_without_key_and_prompt(capfd):
    """The log has who, what, how long and how much, by fingerprint and number."""
    with door(keyed()) as client:
        secret = {"content": "my secret question", "key": "new-key"}
        client.post(f"{CHAT}?api_key=new-key", json=secret, headers=bearer("new-key"))
        client.get("/v1/models", headers=bearer("wrong-key-of-somebody"))
        client.get("/health")
    said = capfd.readouterr().err
    first, second = lines(said)
    assert first.keys() == {
        *("log", "time", "id", "method", "path", "status", "first_ms", "ms"),
        *("bytes_in", "bytes_out", "key"),
    }
    assert (first["method"], first["path"], first["status"]) == ("POST", CHAT, 200)
    assert first["bytes_in"] > 40
    assert first["bytes_out"] > 40
    assert len(first["key"]) == 8
    assert (second["status"], second["key"]) == (401, None)
    assert "secret question" not in said
    assert "new-key" not in said
    assert "wrong-key-of-somebody" not in said


@pytest.mark.parametrize(
    ("error", "logged"),
    [(ValueError("broken"), 500), (OSError("gone"), None), (ClientDisconnect(), None)],
)
def test_an_app_that_fails_is_no_client_that_left(capfd, error, logged):
    """What the server answers in a failed app's place is in the log; who left has no status."""

    async def app(_scope, _receive, _send):
        raise error

    client = TestClient(guarded(app, keyed()), raise_server_exceptions=False)
    client.get("/v1/models", headers=bearer("new-key"))
    (line,) = lines(capfd.readouterr().err)
    assert line["status"] == logged


def test_prompts_are_logged_when_asked_for(capfd):
    """access_log="prompts" adds the body, cut off, and still no key."""
    with door(keyed(access_log="prompts")) as client:
        client.post(CHAT, content=b"a question " * 4000, headers=bearer("new-key"))
    (line,) = lines(capfd.readouterr().err)
    assert line["body"].startswith("a question a question")
    assert len(line["body"]) == 16_384
    assert line["bytes_in"] == 44_000


def test_the_log_can_be_turned_off(capfd):
    """access_log="off" writes nothing."""
    with door(keyed(access_log="off")) as client:
        assert client.get("/v1/models", headers=bearer("new-key")).status_code == 200
    assert not lines(capfd.readouterr().err)
