"""What a custom service tells of itself, on its own server: metrics, health, failures."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import contextmanager, suppress

import httpx
import pytest
import websockets
from prometheus_client.parser import text_string_to_metric_families

from modalkit import Batch, Endpoint, Webhook, endpoint, request_id, traced
from modalkit.declare.routes import Route
from modalkit.runtime.custom_host import CustomHost
from modalkit.runtime.custom_server import CustomServer
from modalkit.runtime.observe.watch import Watch


class Words:
    """A service whose model can be broken and held up."""

    def __init__(self) -> None:
        self.broken = False
        self.tests = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.started = threading.Event()

    def load(self) -> None: ...
    def wake(self) -> None: ...
    def warm_up(self) -> None: ...
    def unload(self) -> None: ...

    @endpoint("/count")
    def count(self, text: str) -> int:
        self.started.set()
        assert self.go_on.wait(60)
        if self.broken:
            msg = f"the prompt was {text}"
            raise ValueError(msg)
        return len(text.split())

    @endpoint("/lengths", batch=Batch(8))
    def lengths(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts]

    @endpoint("/sized", batch=Batch(8, max_tokens=100))
    def sized(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts]

    @endpoint("/letters")
    async def letters(self, text: str) -> AsyncIterator[str]:
        for letter in text:
            if letter == "!":
                raise ValueError(text)
            yield letter

    @endpoint("/waits")
    async def waits(self, pieces: int = 0) -> AsyncIterator[int]:
        for piece in range(pieces):
            yield piece
        await asyncio.Event().wait()

    @endpoint("/late", batch=Batch(8, deadline_ms=20))
    async def late(self, texts: list[str]) -> list[int]:
        await asyncio.Event().wait()
        return []

    @traced
    def own(self, text: str) -> str:
        if self.broken:
            raise ValueError(text)
        return text

    @endpoint("/who")
    async def who(self) -> str:
        await asyncio.sleep(0)
        return request_id()


class SelfTested(Words):
    """The same, with a test of itself."""

    def self_test(self) -> None:
        self.tests += 1
        if self.count.__func__(self, "two words") != 2:
            raise AssertionError


ROUTES = {name: value for name, value in vars(Words).items() if isinstance(value, Route)}


@contextmanager
def running(service, on_failure=None, **rules):
    """A client of the service's server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    declared = Endpoint(kind="server", public=True, port=port, **rules)
    watch = Watch(type(service).__name__, declared, on_failure)
    host = service._modalkit_custom = CustomHost(service, ROUTES, watch=watch)  # as `serve` does
    server = CustomServer(host, declared)
    server.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        yield client
    server.stop()


def figures(client) -> dict[str, float]:
    """Each sample by its name and the labels that tell it from others, ``calls_total{count,ok}``."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = {**sample.labels}
            assert labels.pop("service") in {"Words", "SelfTested"}
            assert "container" in labels
            del labels["container"]
            said = ",".join(labels.values())
            found[f"{sample.name.removeprefix('modalkit_')}{{{said}}}"] = sample.value
    return found


def test_requests_calls_and_times_are_counted(eventually):
    """Each route has its requests, each method its calls and what they waited and took."""
    with running(Words(), metrics="open") as client:
        for _ in range(3):
            assert client.post("/count", json={"text": "a b"}).json() == 2
        assert client.post("/count", json={"text": 1}).status_code == 422
        assert client.post("/nothing").status_code == 404
        assert client.post("/lengths", json="four").json() == 4
        assert client.post("/sized", json="seven").json() == 5
        client.get("/health")
        found = figures(client)
    assert found["http_requests_total{/count,200}"] == 3
    assert found["http_requests_total{/count,422}"] == 1
    assert found["http_requests_total{other,404}"] == 1
    assert found["http_request_seconds_count{/count}"] == 4
    assert found["http_in_flight{}"] == 0
    assert found["calls_total{count,ok}"] == 3
    assert found["queue_seconds_count{count}"] == 3
    assert found["model_seconds_count{count}"] == 3
    assert found["calls_total{lengths,ok}"] == 1
    for name in ("batch_size", "queue_seconds", "model_seconds"):
        assert found[f"{name}_count{{lengths}}"] == 1
    assert found["batch_tokens_total{sized}"] == 5
    assert "batch_tokens_total{lengths}" not in found
    assert found["queue_length{lengths}"] == 0
    assert "batch_size_count{count}" not in found
    assert not any("/health" in name or "/metrics" in name for name in found)


def test_a_services_own_method_is_counted_where_it_is_traced():
    """@traced below @modal.method() makes its calls and failures figures of the container, as a route's."""
    service = Words()
    with running(service, metrics="open") as client:
        assert service.own("a") == "a"
        service.broken = True
        with pytest.raises(ValueError, match="a"):
            service.own("a")
        found = figures(client)
    assert (found["calls_total{own,ok}"], found["calls_total{own,error}"]) == (1, 1)
    assert found["calls_in_flight{own}"] == 0


def test_a_request_under_way_is_in_flight_and_waits_for_its_turn(eventually):
    """While the model runs, the page shows one call at it and another behind, then their wait."""
    service = Words()
    service.go_on.clear()
    with running(service, metrics="open") as client:
        asking = [
            threading.Thread(target=lambda: client.post("/count", json={"text": "a"}))
            for _ in range(2)
        ]
        for one in asking:
            one.start()
        assert eventually(lambda: figures(client)["http_in_flight{}"] == 2)
        assert eventually(lambda: figures(client)["calls_in_flight{count}"] == 2)
        service.go_on.set()
        for one in asking:
            one.join()
        found = figures(client)
    assert found["calls_in_flight{count}"] == 0
    assert found["queue_seconds_sum{count}"] > 0


def test_a_client_that_leaves_is_not_in_flight_any_more(eventually):
    """A request whose client is gone before the answer ends like any other; nothing stays in flight."""
    service = Words()
    service.go_on.clear()
    with running(service, metrics="open") as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/count", json={"text": "a"}, timeout=0.5)
        assert service.started.wait(60)
        service.go_on.set()
        assert eventually(lambda: figures(client)["http_in_flight{}"] == 0)


def test_a_deadline_is_an_outcome_of_its_own(capfd):
    """Whose time is over, by its header or its route, has not left and was not refused; the log tells it too."""
    service = Words()
    service.go_on.clear()
    soon = {"x-deadline-ms": "20"}
    with running(service, metrics="open") as client:
        assert client.post("/count", json={"text": "a"}, headers=soon).status_code == 504
        service.go_on.set()
        assert client.post("/late", json="a").status_code == 504
        assert client.post("/waits", headers=soon).status_code == 504
        cut = client.post("/waits", json={"pieces": 2}, headers={**soon, "x-request-id": "cut"})
        assert cut.status_code == 200
        assert "event: error" in cut.text
        found = figures(client)
    assert [found[f"calls_total{{{name},deadline}}"] for name in ("count", "late", "waits")] == [
        1,
        1,
        2,
    ]
    ended = ("cancelled", "refused", "error", "ok")
    assert not any(
        found[f"calls_total{{{name},{word}}}"] for name in ("late", "waits") for word in ended
    )
    assert found["calls_refused_total{late,deadline}"] == 1
    logged = [one for one in capfd.readouterr().err.splitlines() if "modalkit.access" in one]
    lines = [json.loads(one) for one in logged]
    told = {one["id"]: one for one in lines if "outcome" in one}
    assert [(one, line["outcome"], line["status"]) for one, line in told.items()] == [
        ("cut", "deadline", 200)
    ]


def test_a_caller_who_leaves_is_cancelled_and_not_late(eventually):
    """A request with time left whose caller is gone is no deadline's."""
    with running(Words(), metrics="open") as client:

        def leave() -> bool:
            with suppress(httpx.ReadTimeout):
                client.post("/waits", headers={"x-deadline-ms": "600000"}, timeout=0.5)
            return figures(client)["calls_total{waits,cancelled}"] >= 1

        assert eventually(leave)
        assert figures(client)["calls_total{waits,deadline}"] == 0


def over_a_websocket(client, path, message, headers=None) -> websockets.ClientConnection:
    """Send one message and read all that comes; the connection, which is closed then."""

    async def scenario():
        url = str(client.base_url.join(path)).replace("http", "ws", 1)
        async with websockets.connect(url, additional_headers=headers) as socket_:
            await socket_.send(message)
            with suppress(websockets.ConnectionClosed):
                while True:
                    await socket_.recv()
            return socket_

    return asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_websocket_is_counted_by_how_it_was_closed(capfd, eventually):
    """A stream over a WebSocket has its route, its close code, its times and its line in the log."""
    with running(Words(), metrics="open") as client:
        opened = over_a_websocket(client, "/letters", '{"text": "ab"}', {"x-request-id": "mine"})
        over_a_websocket(client, "/letters", '{"text": "a!"}')
        over_a_websocket(client, "/letters", '{"text": 3}')
        with pytest.raises(websockets.InvalidStatus):
            over_a_websocket(client, "/wp-login", "{}")
        closed = "http_requests_total{/letters,%d}"
        assert eventually(lambda: figures(client).get(closed % 1007) == 1)
        found = figures(client)
    assert opened.response.headers["x-request-id"] == "mine"
    assert [found[closed % code] for code in (1000, 1011)] == [1, 1]
    assert found["http_requests_total{other,403}"] == 1
    assert found["http_request_seconds_count{/letters}"] == 3
    assert found["http_first_byte_seconds_count{/letters}"] == 2
    assert found["http_in_flight{}"] == 0
    assert found["model_seconds_count{letters}"] == 2
    assert found["calls_total{letters,ok}"] == found["calls_total{letters,error}"] == 1
    lines = [
        json.loads(one) for one in capfd.readouterr().err.splitlines() if "modalkit.access" in one
    ]
    (told,) = [one for one in lines if one["id"] == "mine"]
    assert (told["method"], told["path"], told["status"]) == ("WEBSOCKET", "/letters", 1000)
    assert (told["bytes_in"], told["bytes_out"]) == (len('{"text": "ab"}'), len('"a""b"'))


def test_a_message_beyond_the_limit_closes_its_websocket():
    """max_body_mib holds for what a WebSocket brings too, and says so by the code for it."""
    with running(Words(), max_body_mib=1) as client:
        ended = over_a_websocket(client, "/letters", json.dumps({"text": "a" * 2**20}))
    assert ended.close_code == 1009
    assert "larger than this endpoint takes, 1 MiB" in ended.close_reason


@pytest.mark.parametrize("announced", [{}, {"content-length": "0"}])
def test_a_handshake_announces_nothing_of_its_messages(announced):
    """A length in its headers does not lift the limit; a message below that is answered."""
    with running(Words(), max_body_mib=1) as client:
        small = over_a_websocket(client, "/letters", json.dumps({"text": "ab"}), announced)
        large = over_a_websocket(client, "/letters", json.dumps({"text": "a" * 2**20}), announced)
    assert [one.close_code for one in (small, large)] == [1000, 1009]


def test_a_long_message_is_taken_as_far_as_the_endpoint_says():
    """No limit of the server's own comes before max_body_mib."""
    long = json.dumps({"text": "ab"}).rjust(17 * 2**20)
    with running(Words(), max_body_mib=18) as client:
        assert over_a_websocket(client, "/letters", long).close_code == 1000


def test_metrics_are_shown_as_the_endpoint_says():
    """By default nobody reads them, and then nothing is counted."""
    service = Words()
    with running(service) as client:
        assert client.get("/metrics").status_code == 404
    assert Watch("Words", Endpoint()).method("count") is None


def test_below_a_path_probes_are_probes_and_routes_are_routes():
    """An endpoint's own path is in no name, and a probe there is not counted either."""
    with running(Words(), metrics="open", path="/words") as client:
        assert client.get("/words/health").status_code == 200
        assert client.post("/words/count", json={"text": "a"}).json() == 1
        client.base_url = client.base_url.join("/words")
        found = figures(client)
    assert found["http_in_flight{}"] == 0
    assert found["http_requests_total{/count,200}"] == 1
    assert sum(name.startswith("http_requests_total") for name in found) == 1


def test_a_service_without_a_test_is_healthy_once_it_is_warm():
    """The port opens after the warm-up, so an answer says that much."""
    with running(Words()) as client:
        assert client.get("/health").json() == {"status": "ok"}


def test_health_is_what_the_self_test_says():
    """It passes at the start; after a request has failed it is asked again, and tells the truth."""
    service = SelfTested()
    with running(service, metrics="open") as client:
        assert service.tests == 1
        for _ in range(3):
            assert client.get("/health").status_code == 200
        assert service.tests == 1  # its answer is good for a minute


def test_a_model_that_stops_answering_is_unhealthy_until_it_does(eventually):
    """503 with a reason that shows nobody's prompt; 200 again once the test passes."""
    service = SelfTested()
    service.broken = True
    with running(service) as client:
        answer = client.get("/health")
        assert answer.status_code == 503
        reason = answer.json()["reason"]
        assert reason == "self_test raised ValueError; the service's log says why."
        service.broken = False
        assert eventually(lambda: client.get("/health").status_code == 200)


def test_a_request_id_is_known_to_the_method():
    """The client's id, or the one that comes back with the answer."""
    with running(Words()) as client:
        given = client.post("/who", headers={"x-request-id": "mine-1"})
        made = client.post("/who")
    assert given.json() == "mine-1"
    assert made.json() == made.headers["x-request-id"]
    assert len(made.json()) == 32
    assert request_id() == ""


def test_failures_reach_the_webhook_without_what_was_asked(receiver, eventually):
    """A start that fails and requests that keep failing are told, with classes and counts alone."""
    service = SelfTested()
    hook = Webhook(receiver.url, failures=3)
    with running(service, on_failure=hook) as client:
        service.broken = True
        for _ in range(3):
            assert client.post("/count", json={"text": "my secret"}).status_code == 500
        assert eventually(lambda: receiver.events)
    assert [event["type"] for event in receiver.events] == ["modalkit.failures"]
    assert receiver.events[0]["data"]["last_error"] == "ValueError"
    assert b"my secret" not in receiver.taken[0][2]


def test_a_start_that_fails_is_told_before_the_container_ends(receiver):
    """The error's class is enough to look further; its text may hold anything."""

    class Broken(Words):
        def load(self) -> None:
            msg = "token hf_0123456789abcdefghij"
            raise OSError(msg)

    with pytest.raises(OSError, match="token"), running(Broken(), Webhook(receiver.url)):
        pass
    (event,) = receiver.events
    assert event["type"] == "modalkit.start"
    assert event["data"]["error"] == "OSError"
    assert b"hf_0123" not in receiver.taken[0][2]
