"""Traces made with OpenTelemetry's own SDK, sent to a real receiver of OTLP over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import websockets

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from modalkit import Batch, Echo, Endpoint, endpoint, traced
from modalkit.declare.routes import Route
from modalkit.engines import Launch
from modalkit.engines.client_routes import COMMON_ROUTES
from modalkit.runtime.custom_host import CustomHost
from modalkit.runtime.door import guarded
from modalkit.runtime.engine_host import EngineHost
from modalkit.runtime.gateway import Gateway
from modalkit.runtime.observe.remote import take_trace
from modalkit.runtime.observe.tracing import tracing_is_on
from modalkit.runtime.observe.watch import Watch

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


class Words:
    """A service with a method of each kind."""

    def load(self) -> None: ...
    def wake(self) -> None: ...
    def warm_up(self) -> None: ...
    def unload(self) -> None: ...

    @endpoint("/count")
    def count(self, text: str) -> int:
        with trace.get_tracer("mine").start_as_current_span("counting"):
            return len(text.split())

    @endpoint("/lengths", batch=Batch(8))
    def lengths(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts]

    @endpoint("/letters")
    async def letters(self, text: str) -> AsyncIterator[str]:
        for letter in text:
            if letter == "!":
                raise ValueError(text)
            yield letter

    @endpoint("/waits")
    async def waits(self) -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    @endpoint("/broken")
    async def broken(self, text: str) -> int:
        raise ValueError(text)


ROUTES = {name: value for name, value in vars(Words).items() if isinstance(value, Route)}


@pytest.fixture(scope="module")
def collector(receiving):
    """A receiver that the standard variable names; one provider for the whole process."""
    one = receiving()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", one.url)
        patch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=blue")
        yield one
    one.close()


class Spans:
    """What a receiver was sent."""

    def __init__(self, collector) -> None:
        self.collector = collector
        collector.taken.clear()

    def __iter__(self):
        trace.get_tracer_provider().force_flush()
        for path, headers, body in list(self.collector.taken):
            assert path == "/v1/traces"
            assert headers["x-team"] == "blue"
            raw = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            request = ExportTraceServiceRequest.FromString(raw)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    yield from scope.spans

    def named(self, name):
        (found,) = [span for span in self if span.name == name]
        return found


@pytest.fixture
def spans(collector):
    return Spans(collector)


def attributes(span) -> dict[str, object]:
    return {
        one.key: one.value.string_value or one.value.int_value or one.value.bool_value
        for one in span.attributes
    }


@pytest.fixture
def words(collector, served):
    """A client of the service's app, traced."""
    rules = Endpoint(public=True)
    host = CustomHost(Words(), ROUTES, watch=Watch("Words", rules))
    asyncio.run(host.start())
    with served(guarded(host.app(rules), rules, watch=host.watch)) as client:
        yield client
    asyncio.run(host.stop())


def test_a_request_is_traced_from_its_caller_to_the_model(words, spans, capfd):
    """W3C's traceparent is taken in; request, call, queue and model hang together, with their ids."""
    answer = words.post(
        "/count", json={"text": "a b"}, headers={**TRACEPARENT, "x-request-id": "r-1"}
    )
    assert answer.json() == 2
    request, call = spans.named("POST /count"), spans.named("Words.count")
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert request.parent_span_id.hex() == CALLER
    assert call.parent_span_id == request.span_id
    for name in ("queue", "model", "counting"):
        assert spans.named(name).parent_span_id == call.span_id
    told = attributes(request)
    assert told["http.route"] == "/count"
    assert told["http.response.status_code"] == 200
    assert told["modalkit.request_id"] == "r-1"
    queue, model = spans.named("queue"), spans.named("model")
    assert request.start_time_unix_nano <= queue.start_time_unix_nano + 10**6
    assert queue.end_time_unix_nano == model.start_time_unix_nano
    assert f'"trace": "{TRACE}"' in capfd.readouterr().err


def test_what_is_asked_and_said_is_in_no_span(words, spans):
    """An error is a class name and a status; its message, which may be a prompt, stays here."""
    assert words.post("/broken", json={"text": "my secret"}).status_code == 500
    call, request = spans.named("Words.broken"), spans.named("POST /broken")
    assert attributes(call)["error.type"] == "ValueError"
    assert call.status.code == 2
    assert request.status.code == 2
    assert not any("my secret" in str(span) for span in spans)


def test_a_deadline_is_the_error_of_its_spans(words, spans, eventually):
    """What is cancelled because its time is over says so, and so does the request whose status was sent."""
    answer = words.post("/waits", headers={**TRACEPARENT, "x-deadline-ms": "50"})
    assert answer.status_code == 200
    assert eventually(lambda: any(span.name == "POST /waits" for span in spans))
    call, request = spans.named("Words.waits"), spans.named("POST /waits")
    assert attributes(call)["error.type"] == "DeadlineError"
    assert attributes(request)["error.type"] == "deadline"
    assert attributes(request)["http.response.status_code"] == 200


@pytest.mark.parametrize(("text", "code"), [("ab", 1000), ("a!", 1011)])
def test_a_websocket_is_a_request_of_its_callers_trace(words, spans, eventually, text, code):
    """The span of a WebSocket lasts until it is closed, by the code that says how it ended."""

    async def scenario():
        url = str(words.base_url.join("/letters")).replace("http", "ws", 1)
        async with websockets.connect(url, additional_headers=TRACEPARENT) as socket_:
            await socket_.send(f'{{"text": "{text}"}}')
            with suppress(websockets.ConnectionClosed):
                while True:
                    await socket_.recv()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert eventually(lambda: any(span.name == "WEBSOCKET /letters" for span in spans))
    request, call = spans.named("WEBSOCKET /letters"), spans.named("Words.letters")
    assert request.parent_span_id.hex() == CALLER
    assert call.parent_span_id == request.span_id
    assert attributes(request)["http.response.status_code"] == code
    failed = code == 1011
    assert [span.status.code == 2 for span in (request, call)] == [failed, failed]


def test_a_probe_is_no_trace(words, spans):
    """A health check every few seconds would hide the others."""
    assert words.get("/health").status_code == 200
    assert list(spans) == []


def test_an_unknown_path_has_no_name_of_its_own(words, spans):
    """A scanner's paths are one name."""
    words.post("/wp-login.php")
    assert [span.name for span in spans] == ["POST other"]


def test_calls_of_a_batch_have_each_their_own_trace(words, spans):
    """Requests that share a batch do not share a trace: each has its queue and its model."""
    parents = [f"00-{index:032x}-{CALLER}-01" for index in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda parent: words.post("/lengths", json="abc", headers={"traceparent": parent}),
                parents,
            )
        )
    found: dict[str, set[str]] = {}
    for span in spans:
        found.setdefault(span.trace_id.hex(), set()).add(span.name)
    assert set(found) == {f"{index:032x}" for index in range(1, 9)}
    for names in found.values():
        assert {"POST /lengths", "Words.lengths"} <= names


def test_an_engine_is_asked_within_the_trace(collector, served, spans):
    """The gateway's span for the engine is what goes on to it, so its own spans hang below."""
    rules = Endpoint(public=True)
    launch = Launch(model="echo", served_name="echo", gpu_count=0)
    host = EngineHost(Echo(), launch, 60, endpoint=rules, service="Chat")
    host.start()
    app = guarded(
        Gateway(lambda: host.client, host.watch.tracing), rules, COMMON_ROUTES, watch=host.watch
    )
    body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
    try:
        with served(app) as client:
            answer = client.post("/v1/chat/completions", json=body, headers=TRACEPARENT)
            assert answer.status_code == 200
    finally:
        asyncio.run(host.stop())
    request, engine = spans.named("POST /v1/chat/completions"), spans.named("engine")
    assert request.parent_span_id.hex() == CALLER
    assert engine.parent_span_id == request.span_id
    assert engine.kind == 3  # a client's


class Called:
    """A stand-in for a Modal function: it tells with which keywords it was called."""

    @staticmethod
    def remote(*arguments, **keywords):
        return arguments, keywords

    @staticmethod
    def map(*iterators, kwargs=None):
        return iterators, kwargs


def test_a_remote_call_hands_the_trace_on(words, spans):
    """What the caller adds to a call is what the called service takes off and belongs to."""
    called = Called()
    assert traced(called) is called  # nothing is traced here
    with trace.get_tracer("caller").start_as_current_span("caller") as span:
        (given, keywords) = traced(called).remote("text", size=2)
        _, shared = traced(called).map(["a", "b"], kwargs={"size": 2})
    assert given == ("text",)
    assert keywords.pop("size") == 2
    assert shared.pop("size") == 2
    assert shared == keywords
    tracing = Watch("Words").tracing
    with take_trace(keywords, tracing), tracing.span("called"):
        pass
    assert keywords == {}
    found = spans.named("called")
    assert found.parent_span_id.hex() == format(span.get_span_context().span_id, "016x")


class Own(Words):
    """A service with methods of its own, of each kind, as `serve` leaves them."""

    @traced
    def plain(self, text: str) -> str:
        return text

    @traced
    async def later(self, text: str) -> str:
        return text

    @traced
    def pieces(self, text: str) -> Iterator[str]:
        yield from text

    @traced
    async def pieces_later(self, text: str) -> AsyncIterator[str]:
        for piece in text:
            yield piece


async def _all(pieces: AsyncIterator[str]) -> list[str]:
    return [piece async for piece in pieces]


@pytest.mark.parametrize(
    ("name", "end", "answer"),
    [
        ("plain", lambda called: called, "ab"),
        ("later", asyncio.run, "ab"),
        ("pieces", list, ["a", "b"]),
        ("pieces_later", lambda pieces: asyncio.run(_all(pieces)), ["a", "b"]),
    ],
)
def test_a_services_own_method_is_a_span_of_its_callers_trace(spans, name, end, answer):
    """@traced below @modal.method() takes the caller's trace off and stays what it was."""
    method, service = vars(Own)[name], Own()
    assert inspect.iscoroutinefunction(method) == (name == "later")
    assert inspect.isgeneratorfunction(method) == (name == "pieces")
    assert inspect.isasyncgenfunction(method) == (name == "pieces_later")
    service._modalkit_custom = CustomHost(service, ROUTES, watch=Watch("Own"))
    assert end(method(service, "ab", modalkit_trace=TRACEPARENT)) == answer
    found = spans.named(f"Own.{name}")
    assert (found.trace_id.hex(), found.parent_span_id.hex()) == (TRACE, CALLER)
    assert end(getattr(Own(), name)("ab")) == answer  # in a unit test there is no container


def test_an_untraced_service_takes_the_trace_off_all_the_same():
    """A caller may trace what the called service does not."""
    keywords = {"modalkit_trace": {"traceparent": "x"}, "size": 1}
    with take_trace(keywords, None):
        assert keywords == {"size": 1}


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_standard_variables_switch_traces(variables, on):
    """OpenTelemetry's own variables, and no others, say whether and where."""
    assert tracing_is_on(variables) is on


OFF = """
import sys
from modalkit import Endpoint
from modalkit.runtime.observe.watch import Watch
watch = Watch("Words", Endpoint(metrics="key"))
print(watch.tracing, "opentelemetry" in sys.modules)
"""


def test_off_loads_nothing_of_opentelemetry():
    """Without the variables not one module of it is imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL")}
    done = subprocess.run(
        [sys.executable, "-c", OFF], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["None", "False"]


MISSING = """
import sys
sys.modules["opentelemetry.sdk"] = None  # as if it were not installed
from modalkit.runtime.observe.watch import Watch
print(Watch("Words").tracing)
"""


def test_a_process_without_the_packages_says_so_and_serves():
    """Traces that cannot be made are a line in the log with the remedy, not the end of a service."""
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    done = subprocess.run(
        [sys.executable, "-c", MISSING], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "None"
    assert "pip install '.[otel]'" in done.stderr
    assert "goes on without traces" in done.stderr
