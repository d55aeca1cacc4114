"""What a service with an engine tells of itself: its engine's own page and health, and ours."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from modalkit import Echo, Endpoint, Webhook
from modalkit.engines import Launch
from modalkit.engines.client_routes import COMMON_ROUTES
from modalkit.runtime.door import guarded
from modalkit.runtime.engine_host import EngineHost
from modalkit.runtime.gateway import Gateway
from modalkit.runtime.observe.watch import Watch

CHAT = "/v1/chat/completions"
HELLO = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}


@contextmanager
def running(served, on_failure=None, **rules):
    """A host with a real stand-in engine, and a client of the gateway in front of it."""
    declared = Endpoint(public=True, **rules)
    launch = Launch(model="echo", served_name="echo", gpu_count=0)
    host = EngineHost(Echo(), launch, 60, endpoint=declared, service="Chat", on_failure=on_failure)
    host.start()
    app = guarded(
        Gateway(lambda: host.client, host.watch.tracing), declared, COMMON_ROUTES, watch=host.watch
    )
    try:
        with served(app) as client:
            yield client, host
    finally:
        asyncio.run(host.stop())


def values(client) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    page = client.get("/metrics").text
    return {
        (sample.name, *(v for k, v in sample.labels.items() if k not in {"service", "container"})): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }  # fmt: skip


def test_the_engines_metrics_and_ours_are_one_page(served):
    """A parser reads both; tokens have one name whichever engine counts them."""
    with running(served, metrics="open") as (client, _):
        before = values(client)["modalkit_completion_tokens_total",]
        assert client.post(CHAT, json=HELLO).status_code == 200
        assert client.post("/sleep").status_code == 404
        found = values(client)
    assert found["modalkit_completion_tokens_total",] == before + 3  # the engine's
    assert found["modalkit_tokens_total", "completion"] == before + 3
    assert found["modalkit_tokens_total", "prompt"] >= 3
    assert found["modalkit_http_requests_total", CHAT, "200"] == 1
    assert found["modalkit_http_requests_total", "other", "404"] == 1
    assert found["modalkit_http_in_flight",] == 0


def test_a_page_that_the_engine_does_not_give_is_said_to_be_missing(served):
    """Our own figures are there all the same."""

    async def no_page(_):
        return PlainTextResponse("no", 500)

    rules = Endpoint(public=True, metrics="open")
    app = guarded(
        Starlette(routes=[Route("/metrics", no_page)]),
        rules,
        COMMON_ROUTES,
        watch=Watch("Chat", rules, engine_requests=()),
    )
    with served(app) as client:
        page = client.get("/metrics").text
    assert page.startswith("# The engine's own /metrics answered 500.\n")
    assert list(text_string_to_metric_families(page))


class Unwell:
    """A stand-in for an engine whose ``/health`` is fine whatever its answers are."""

    def __init__(self) -> None:
        self.status = 200
        self.health = 200
        self.asked: list[dict[str, object]] = []

    def app(self) -> Starlette:
        async def answer(request):
            self.asked.append(await request.json())
            return JSONResponse({"ok": True}, self.status)

        async def health(_):
            return PlainTextResponse("", self.health)

        return Starlette(routes=[Route(CHAT, answer, methods=["POST"]), Route("/health", health)])


@pytest.fixture
def unwell(served):
    """The stand-in, and a client of the door in front of it."""
    engine, rules = Unwell(), Endpoint(public=True)
    asked = [("/v1/none", {}), (CHAT, {"model": "m"})]
    watch = Watch("Chat", rules, engine_requests=asked)
    with served(guarded(engine.app(), rules, COMMON_ROUTES, watch=watch)) as client:
        yield engine, client


def test_an_engines_own_health_counts(unwell):
    """What it says of itself is passed on, with a reason."""
    engine, client = unwell
    assert client.get("/health").json() == {"status": "ok"}
    engine.health = 500
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["reason"] == "The engine's own /health answered 500."
    assert engine.asked == []  # nothing has failed, so the model is left in peace


def test_after_a_failed_request_the_engine_is_asked_a_small_one(unwell):
    """Its health may be a lie: a request of our own, of the kind it takes, decides."""
    engine, client = unwell
    engine.status = 500
    assert client.post(CHAT, json=HELLO).status_code == 500
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["reason"] == f"The last request failed, and POST {CHAT} answers 500."
    engine.status = 200
    assert client.get("/health").status_code == 200
    count = len(engine.asked)
    assert client.get("/health").status_code == 200
    assert len(engine.asked) == count


def test_a_refusal_is_no_failure(unwell):
    """A client's mistake says nothing of the model."""
    engine, client = unwell
    engine.status = 400
    client.post(CHAT, json=HELLO)
    assert client.get("/health").status_code == 200
    assert len(engine.asked) == 1


def test_an_engine_that_dies_is_told_and_not_healthy(served, receiver, eventually):
    """The webhook has its return code, and whoever asks for its health has the truth."""
    with running(served, on_failure=Webhook(receiver.url)) as (client, host):
        assert client.get("/health").json() == {"status": "ok"}
        os.kill(host._process.pid, signal.SIGKILL)
        assert eventually(lambda: receiver.events)
        assert client.get("/health").status_code == 503
    assert receiver.events[0]["type"] == "modalkit.engine_death"
    assert receiver.events[0]["data"]["returncode"] == -9
