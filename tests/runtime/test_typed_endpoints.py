"""Every kind of body and answer a typed route takes, through a real server on a port of its own."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import httpx
import msgspec
import numpy as np
import pytest
import websockets
from numpy.typing import NDArray
from openapi_spec_validator import validate
from pydantic import Field

from modalkit.declare.batches import Batch
from modalkit.declare.endpoints import Endpoint
from modalkit.declare.files import File
from modalkit.declare.live_batches import LiveBatch
from modalkit.declare.routes import Route, endpoint
from modalkit.errors import RequestError
from modalkit.runtime.custom_host import CustomHost
from modalkit.runtime.custom_server import CustomServer
from modalkit.runtime.openapi import openapi_schema
from modalkit.runtime.typed_routes import typed_route


class Struct(msgspec.Struct):
    text: str
    times: Annotated[int, msgspec.Meta(ge=1)] = 1


@dataclass
class Pair:
    left: int
    right: list[str]


class Service:
    """One route of each kind."""

    weights = None

    def load(self) -> None:
        self.closed, self.seen = [], []
        self.entered, self.gate = asyncio.Event(), asyncio.Event()

    def wake(self) -> None: ...
    def warm_up(self) -> None: ...
    def unload(self) -> None: ...

    @endpoint("/v1/struct")
    def struct(self, request: Struct) -> Struct:
        return Struct(request.text * request.times)

    @endpoint("/v1/structs")
    def structs(self, request: Struct) -> list[Struct]:
        return [request] * request.times

    @endpoint("/v1/lying-struct")
    def lying_struct(self, request: Struct) -> Struct:
        return Struct(text=3)

    @endpoint("/v1/pair")
    async def pair(self, pair: Pair) -> Pair:
        return Pair(-pair.left, pair.right[::-1])

    @endpoint("/v1/double")
    async def double(self, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        return numbers * 2

    @endpoint("/v1/mask")
    async def mask(self, pixels: NDArray[np.uint8], limit: int = 100) -> int:
        return int((pixels > limit).sum())

    @endpoint("/v1/file")
    async def file(self, file: File, times: Annotated[int, Field(ge=1)] = 1) -> str:
        return f"{file.name} {file.media_type} {len(file.data) * times}"

    @endpoint("/v1/speech", media_type="audio/wav")
    async def speech(self, recording: bytes) -> bytes:
        return recording[::-1]

    @endpoint("/v1/count")
    def count(self, to: int) -> Iterator[int]:
        try:
            yield from range(to)
        finally:
            self.closed.append(to)

    @endpoint("/v1/slowly")
    async def slowly(self, to: int) -> AsyncIterator[int]:
        try:
            for number in range(to):
                yield number
                await asyncio.sleep(0.02)
        finally:
            self.closed.append(to)

    @endpoint("/v1/breaks")
    async def breaks(self, at: int) -> AsyncIterator[int]:
        for number in range(at):
            yield number
        msg = "no more numbers"
        raise RequestError(msg, 418)

    @endpoint("/v1/parts", media_type="application/octet-stream")
    async def parts(self, count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"\xff\x00"

    @endpoint("/v1/together", batch=Batch(4))
    def together(self, batch: LiveBatch[int, str]) -> Iterator[None]:
        while True:
            for item in batch.joined:
                item.state = item.request
            for item in batch:
                item.send(f"{item.request}:{item.state}")
                item.state -= 1
                if item.request == 13:
                    item.fail(RequestError("unlucky", 409))
                elif not item.state:
                    item.finish()
            yield

    @endpoint("/v1/pick", batch=Batch(8))
    def pick(self, numbers: list[int]) -> list[int | Exception]:
        return [RequestError(f"{n} is odd", 409) if n % 2 else n for n in numbers]

    @endpoint("/v1/gated", batch=Batch(1, max_queue=1))
    async def gated(self, numbers: list[int]) -> list[int]:
        self.seen.extend(numbers)
        self.entered.set()
        await self.gate.wait()
        return numbers

    @endpoint("/v1/open")
    async def open(self) -> None:
        self.gate.set()

    @endpoint("/v1/stuck", batch=Batch(4))
    async def stuck(self, numbers: list[int]) -> list[int]:
        await asyncio.sleep(60)
        return numbers


ROUTES = {name: value for name, value in vars(Service).items() if isinstance(value, Route)}


@pytest.fixture(scope="module")
def served():
    """The service and its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rules = Endpoint(kind="server", public=True, port=port, access_log="off")
    service = Service()
    server = CustomServer(CustomHost(service, ROUTES), rules)
    server.start()
    yield service, f"http://127.0.0.1:{port}/v1"
    server.stop()


@pytest.fixture(scope="module")
def url(served):
    return served[1]


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("struct", {"text": "ab", "times": 2}, {"text": "abab", "times": 1}),
        ("structs", {"text": "a", "times": 2}, 2 * [{"text": "a", "times": 2}]),
        ("pair", {"left": 1, "right": ["x", "y"]}, {"left": -1, "right": ["y", "x"]}),
        ("double", [[1, 2.5], [3, 4]], [[2.0, 5.0], [6.0, 8.0]]),
        ("mask", {"pixels": [[1, 200]], "limit": 50}, 1),
        ("file", {"file": {"data": "aGk=", "name": "n", "media_type": "a/b"}}, "n a/b 2"),
    ],
)
def test_values_of_every_kind_come_and_go_as_json(url, path, body, answer):
    """Msgspec structs, dataclasses, arrays and files are JSON where the request is."""
    got = httpx.post(f"{url}/{path}", json=body)
    assert (got.status_code, got.json()) == (200, answer)


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("struct", {"text": 3}, ["body", "text"]),
        ("struct", {"text": "a", "times": 0}, ["body", "times"]),
        ("pair", {"left": 1}, ["body", "right"]),
        ("double", [[1, 2], [3]], ["body"]),
        ("double", ["x"], ["body"]),
        ("mask", {"pixels": [300]}, ["body", "pixels"]),
        ("file", {"file": {"data": "?"}}, ["body", "file", "data"]),
    ],
)
def test_a_value_that_does_not_fit_is_a_422_with_its_place(url, path, body, place):
    """The problem names the field, whoever validates."""
    got = httpx.post(f"{url}/{path}", json=body)
    assert got.status_code == 422
    assert got.json()["detail"][0]["loc"] == place


def test_a_struct_that_is_none_is_a_500(url):
    """What a method returns is held to its type, although msgspec's constructors check nothing."""
    assert httpx.post(f"{url}/lying-struct", json={"text": "a"}).status_code == 500


def test_an_array_comes_and_goes_in_numpys_own_format(url):
    """A body and an answer of application/x-npy are the array, without JSON."""
    sent = io.BytesIO()
    np.save(sent, np.arange(6, dtype=np.float32).reshape(2, 3))
    kind = "application/x-npy"
    headers = {"content-type": kind, "accept": kind}
    got = httpx.post(f"{url}/double", content=sent.getvalue(), headers=headers)
    assert got.headers["content-type"] == kind
    assert np.load(io.BytesIO(got.content)).tolist() == [[0, 2, 4], [6, 8, 10]]
    bad = httpx.post(f"{url}/double", content=b"no array", headers=headers)
    assert bad.status_code == 422


def test_a_form_brings_files_and_fields(url):
    """Multipart fields are the parameters by name; a field of another type is checked as JSON is."""
    files = {"file": ("a.txt", b"hello", "text/plain")}
    got = httpx.post(f"{url}/file", files=files, data={"times": "3"})
    assert got.json() == "a.txt text/plain 15"
    wrong = httpx.post(f"{url}/file", files=files, data={"times": "0"})
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["body", "times"])
    broken = httpx.post(
        f"{url}/file", content=b"x", headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert broken.status_code == 422


def test_bytes_come_and_go_as_they_are(url):
    """A body that is no JSON is the one parameter of bytes; media_type sends bytes back."""
    got = httpx.post(f"{url}/speech", content=b"RIFF", headers={"content-type": "audio/wav"})
    assert (got.headers["content-type"], got.content) == ("audio/wav", b"FFIR")
    assert httpx.post(f"{url}/speech", json={"recording": "UklGRg=="}).content == b"FFIR"


def test_a_generator_is_a_stream_of_events(url):
    """Each piece is an event of JSON, and the last event says that it is the end."""
    got = httpx.post(f"{url}/count", json={"to": 3})
    assert got.headers["content-type"].startswith("text/event-stream")
    assert got.text == "data: 0\n\ndata: 1\n\ndata: 2\n\nevent: end\ndata:\n\n"
    lines = httpx.post(f"{url}/count", json={"to": 2}, headers={"accept": "application/x-ndjson"})
    assert lines.text == "0\n1\n"
    assert httpx.post(f"{url}/count", json={"to": 0}).text == "event: end\ndata:\n\n"
    assert httpx.post(f"{url}/parts", json={"count": 3}).content == 3 * b"\xff\x00"


def test_a_stream_that_fails_says_so(url):
    """Before the first piece an error is a status; after it, an event."""
    early = httpx.post(f"{url}/breaks", json={"at": 0})
    assert (early.status_code, early.json()) == (418, {"detail": "no more numbers"})
    late = httpx.post(f"{url}/breaks", json={"at": 1})
    assert late.text == 'data: 0\n\nevent: error\ndata: {"detail": "no more numbers"}\n\n'


def _until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it did not happen")


def test_a_generator_ends_when_its_caller_leaves(served):
    """A closed connection closes the generator, so that nothing is computed for nobody."""
    service, url = served
    with (
        httpx.Client() as client,
        client.stream("POST", f"{url}/slowly", json={"to": 7777}) as got,
    ):
        assert next(got.iter_lines()) == "data: 0"
    _until(lambda: 7777 in service.closed)


def test_a_waiting_request_whose_caller_leaves_is_not_computed():
    """A client that gives up leaves the queue before its turn: its request ends while it waits."""

    def request(number, leaves):
        messages = [{"type": "http.request", "body": str(number).encode()}]

        async def receive():
            if messages:
                return messages.pop()
            await leaves.wait()
            return {"type": "http.disconnect"}

        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/gated", "headers": []}
        return asyncio.create_task(app(scope, receive, send)), sent

    async def scenario():
        nonlocal app
        service = Service()
        host = CustomHost(service, ROUTES)
        async with asyncio.timeout(30):
            await host.start()
            app = host.app(Endpoint(public=True))
            stays, leaves = asyncio.Event(), asyncio.Event()
            first, answer = request(1, stays)
            await service.entered.wait()
            second, nothing = request(2, leaves)
            await asyncio.sleep(0)
            leaves.set()
            await second  # it ends although the model is still busy with the first
            service.gate.set()
            await first
            await host.stop()
        return service.seen, answer[-1]["body"], nothing

    app = None
    assert asyncio.run(scenario()) == ([1], b"1", [])


def test_requests_join_and_leave_a_batch_between_steps(url):
    """Each caller of a LiveBatch gets its own pieces, and one failure is its own."""

    async def scenario():
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            sent = [client.post("/together", json=number) for number in (1, 5, 13, 3, 2, 4)]
            return [answer.text for answer in await asyncio.gather(*sent)]

    answers = asyncio.run(scenario())
    for number, text in zip((1, 5, 13, 3, 2, 4), answers, strict=True):
        pieces = [line[6:] for line in text.splitlines() if line.startswith('data: "')]
        if number == 13:
            assert pieces == ['"13:13"']
            assert 'event: error\ndata: {"detail": "unlucky"}' in text
        else:
            assert pieces == [f'"{number}:{left}"' for left in range(number, 0, -1)]


def test_a_websocket_takes_one_request_and_closes_with_how_it_ended(url):
    """Pieces are messages; the close code tells whole, unfit and failed apart."""

    async def ask(path, message):
        async with websockets.connect(f"{url}/{path}".replace("http", "ws")) as socket_:
            await socket_.send(message)
            pieces = [piece async for piece in _messages(socket_)]
            return pieces, socket_.close_code, socket_.close_reason

    async def _messages(socket_):
        try:
            async for piece in socket_:
                yield piece
        except websockets.ConnectionClosedError:
            return

    assert asyncio.run(ask("count", '{"to": 2}')) == (["0", "1"], 1000, "")
    assert asyncio.run(ask("parts", '{"count": 1}')) == ([b"\xff\x00"], 1000, "")
    assert asyncio.run(ask("breaks", '{"at": 1}')) == (["0"], 1011, "no more numbers")
    pieces, code, reason = asyncio.run(ask("count", '{"to": "x"}'))
    assert (pieces, code) == ([], 1007)
    assert '"to"' in reason
    with pytest.raises(websockets.InvalidStatus):
        asyncio.run(ask("pair", "{}"))


def test_a_route_may_say_why_in_its_own_words(url):
    """A RequestError is told to its caller with its status; the others of the batch are answered."""

    async def scenario():
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            return await asyncio.gather(*(client.post("/pick", json=n) for n in range(6)))

    answers = asyncio.run(scenario())
    assert [answer.status_code for answer in answers] == [200, 409, 200, 409, 200, 409]
    assert answers[1].json() == {"detail": "1 is odd"}


def test_a_full_queue_is_a_429_that_says_when_to_come_back(url):
    """One runs, one waits, the others are refused with Retry-After."""

    async def scenario():
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            sent = [asyncio.create_task(client.post("/gated", json=n)) for n in range(5)]
            refused = [await one for one in itertools.islice(asyncio.as_completed(sent), 3)]
            await client.post("/open")
            return refused, await asyncio.gather(*sent)

    refused, answers = asyncio.run(scenario())
    assert [answer.status_code for answer in refused] == [429, 429, 429]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429]


def test_a_request_may_bring_its_own_deadline(url):
    """x-deadline-ms is kept for any route: a 504 that says how long was waited."""
    headers = {"x-deadline-ms": "50"}
    got = httpx.post(f"{url}/stuck", json=1, headers=headers)
    assert (got.status_code, got.json()["detail"]) == (504, "stuck did not answer within 50 ms.")
    late = httpx.post(f"{url}/slowly", json={"to": 1000}, headers=headers).text
    assert late.startswith("data: 0\n\n")
    assert "slowly did not answer within 50 ms." in late


@pytest.mark.parametrize("given", ["inf", "1e300", "nan", "soon", "60000"])
def test_a_deadline_that_is_far_or_none_is_waited_for(url, given):
    """A number that no timer takes is as good as none, and so is what is no number."""
    answer = httpx.post(
        f"{url}/pair", json={"left": 1, "right": []}, headers={"x-deadline-ms": given}
    )
    assert answer.json() == {"left": -1, "right": []}


def test_a_websocket_may_bring_a_deadline(url):
    """The header of its handshake holds from its request on, and the close says that it is over."""

    async def scenario():
        address, late = f"{url}/slowly".replace("http", "ws"), {"x-deadline-ms": "50"}
        async with websockets.connect(address, additional_headers=late) as socket_:
            await socket_.send('{"to": 1000}')
            assert await socket_.recv() == "0"
            with suppress(websockets.ConnectionClosedError):
                while True:
                    await socket_.recv()
            return socket_.close_code, socket_.close_reason

    ended = asyncio.run(asyncio.wait_for(scenario(), 60))
    assert ended == (1011, "slowly did not answer within 50 ms.")


def test_the_schema_is_one_that_generators_accept():
    """The OpenAPI document of every kind of route is valid, and names each struct once."""
    routes = [typed_route(name, route) for name, route in ROUTES.items()]
    schema = openapi_schema("Service", "", routes, "", asks_key=True)
    validate(schema)
    told = json.dumps(schema)
    assert "x-modalkit" not in told
    assert told.count('"title": "Struct"') == 1
    bodies = {
        path: set(one["post"]["requestBody"]["content"]) for path, one in schema["paths"].items()
    }
    assert bodies["/v1/pair"] == {"application/json"}
    assert bodies["/v1/file"] == {"application/json", "multipart/form-data"}
    assert bodies["/v1/double"] == {
        "application/json",
        "multipart/form-data",
        "application/x-npy",
    }
    form = schema["paths"]["/v1/file"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["required"] == ["file"]
    (deadline,) = schema["paths"]["/v1/pair"]["post"]["parameters"]
    named = deadline["$ref"].rpartition("/")[2]
    assert schema["components"]["parameters"][named]["name"] == "x-deadline-ms"
    answers = schema["paths"]["/v1/count"]["post"]["responses"]["200"]["content"]
    assert set(answers) == {"text/event-stream", "application/x-ndjson"}


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "pair", 405), ("POST", "nowhere", 404)]
)
def test_what_is_not_there_is_said_in_json(url, method, path, status):
    """A wrong method or path is an error with a detail, as every other."""
    got = httpx.request(method, f"{url}/{path}")
    assert (got.status_code, "detail" in got.json()) == (status, True)
