"""Web endpoints, through real HTTP clients."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import httpx
import modal
import pytest

SLOW = httpx.Timeout(60)


@pytest.fixture
def url(function):
    """Return the URL of an endpoint of the web app."""

    def find(name: str) -> str:
        return function("web", name).get_web_url()

    return find


@pytest.fixture
def server_url(plane, client):
    def find(name: str) -> str:
        return modal.Server.from_name(plane.deploy("web"), name, client=client).get_url()

    return find


def test_fastapi_endpoint(url):
    """A typed function answers, validates and has docs."""
    base = url("double")
    assert httpx.get(base, params={"number": 4}, timeout=SLOW).json() == {"double": 8}
    assert httpx.get(base, params={"number": "four"}, timeout=SLOW).status_code == 422
    assert httpx.get(f"{base}/docs", timeout=SLOW).status_code == 200


def test_each_endpoint_has_an_origin_of_its_own(url):
    """Two endpoints differ in host and port, so any path belongs to the app."""
    assert url("double") != url("asgi")
    assert url("double").startswith("http://127.0.0.1:")


def test_bodies_headers_and_queries(url):
    """What the client sends reaches the app, and what it answers comes back."""
    body = os.urandom(5 * 1024 * 1024)
    sent = {"content-type": "application/x-test"}
    answer = httpx.post(f"{url('asgi')}/echo?a=1&a=%20", content=body, headers=sent, timeout=SLOW)
    assert answer.content == body
    assert answer.headers["content-type"] == "application/x-test"
    assert (answer.headers["x-one"], answer.headers["x-query"]) == ("1", "a=1&a=%20")


def test_a_chunked_request_body(url):
    """A body of unknown length is passed on whole."""
    parts = (b"part %d;" % number for number in range(100))
    answer = httpx.post(f"{url('asgi')}/echo", content=parts, timeout=SLOW)
    assert answer.content == b"".join(b"part %d;" % number for number in range(100))


def test_streams_are_not_buffered(url):
    """The first event of a stream is here before the last one is made."""
    with httpx.stream("GET", f"{url('asgi')}/count/20", timeout=SLOW) as answer:
        arrived = [(line, time.monotonic()) for line in answer.iter_lines() if line]
    assert [line for line, _ in arrived] == [f"data: {number}" for number in range(20)]
    assert arrived[-1][1] - arrived[0][1] > 0.5  # twenty events, 50 ms apart


def test_a_disconnect_reaches_the_app(url, wait_until):
    """When the client goes away, the app's generator is closed."""
    with httpx.stream("GET", f"{url('asgi')}/endless?key=mine", timeout=SLOW) as answer:
        assert next(answer.iter_lines()) == "data: more"
    closed = f"{url('asgi')}/closed"
    wait_until(lambda: httpx.get(closed, timeout=SLOW).json() == ["mine"], "the generator closed")


def test_an_app_that_fails_answers_500(url):
    """An exception in the app is an error response, not a hang."""
    assert httpx.get(f"{url('asgi')}/broken", timeout=SLOW).status_code == 500


def test_websockets(url):
    """Messages go both ways; either side may close."""
    address = url("sockets")

    async def talk() -> tuple[str, int | None]:
        async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
            await socket.send_str("stressed")
            answer = await socket.receive_str()
            await socket.send_str("bye")
            await socket.receive()
            return answer, socket.close_code

    assert asyncio.run(talk()) == ("desserts", 4000)


def test_the_query_selects_a_parametrised_class(cls):
    """Class parameters come from the query; missing ones are the defaults, wrong ones a 400."""
    url = cls("web", "Shop")().sign.get_web_url()
    assert httpx.get(url, timeout=SLOW).json() == {"sign": "corner 0"}
    query = {"name": "top", "floor": "9"}
    assert httpx.get(url, params=query, timeout=SLOW).json() == {"sign": "top 9"}
    wrong = httpx.get(url, params={"floor": "high"}, timeout=SLOW)
    assert wrong.status_code == 400
    assert "'floor' must be of type int, got 'high'" in wrong.text


def test_wsgi(url):
    """A WSGI app answers."""
    assert httpx.get(f"{url('wsgi')}/some/path", timeout=SLOW).text == "GET /some/path"


def test_web_server(url):
    """A program that listens on a port answers through its function."""
    assert httpx.get(f"{url('served')}/page", timeout=SLOW).text.endswith(" /page")


def test_a_locked_endpoint_wants_the_proxy_headers(url, plane):
    """Proxy authentication is enforced with this plane's key and secret."""
    keys = {
        "Modal-Key": plane.exports["MODALKIT_PROXY_KEY"],
        "Modal-Secret": plane.exports["MODALKIT_PROXY_SECRET"],
    }
    refused = httpx.get(url("locked"), timeout=SLOW)
    assert refused.status_code == 401
    assert "Modal-Key" in refused.text
    wrong = httpx.get(url("locked"), headers={**keys, "Modal-Secret": "ws-wrong"}, timeout=SLOW)
    assert wrong.status_code == 401
    assert httpx.get(url("locked"), headers=keys, timeout=SLOW).json() == "inside"


def get_when_up(url: str) -> httpx.Response:
    """Ask until a replica is up."""
    deadline = time.monotonic() + 60
    while (answer := httpx.get(url, timeout=SLOW)).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


def test_a_cold_server_answers_503_until_it_is_up(server_url):
    """The first request starts a replica and is told to come back."""
    first = httpx.get(server_url("Cold"), timeout=SLOW)
    assert first.status_code == 503
    assert "starting" in first.text
    assert get_when_up(server_url("Cold") + "/x").text.endswith(" /x")


def test_replicas_share_a_port_number_and_a_url(server_url):
    """Two replicas of one server both listen on its port, and both get requests."""
    url = server_url("Replicated")
    get_when_up(url)
    seen = set()
    deadline = time.monotonic() + 60
    while len(seen) < 2:
        assert time.monotonic() < deadline
        clients = [httpx.Client(timeout=SLOW) for _ in range(6)]  # each holds its connection open
        seen |= {one.get(url).text.split()[0] for one in clients}
        for one in clients:
            one.close()


def test_a_server_is_locked_unless_it_says_otherwise(server_url):
    """A server without `unauthenticated=True` wants the proxy headers."""
    assert httpx.get(server_url("Locked"), timeout=SLOW).status_code == 401


def test_a_class_with_http_server(plane, cls, wait_until):
    """The older `modal.experimental.http_server` is reached by its URL, and its exit method runs."""
    (url,) = cls("http_classes", "Files")._experimental_get_flash_urls()
    assert httpx.get(url, timeout=SLOW).status_code == 503
    assert get_when_up(url).text.startswith("ta-")

    def said_goodbye() -> bool:
        return "it hears of its end" in plane.modal("app", "logs", "http_classes").stdout

    wait_until(said_goodbye, "an idle replica ends, its exit method included")


def test_a_server_container_has_a_way_out(local, tmp_path: Path):
    """A container with its own network reaches HTTP servers through the proxy it is told of."""
    (tmp_path / "page").write_text("from outside")
    outside = ThreadingHTTPServer(
        ("127.0.0.2", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    )
    threading.Thread(target=outside.serve_forever, daemon=True).start()
    try:
        target = f"http://127.0.0.2:{outside.server_port}/page"
        done = local("modal", "run", "outward.py", OUTSIDE=target)
        assert done.returncode == 0, done.stderr
        assert "answer: from outside" in done.stdout
    finally:
        outside.shutdown()


def test_a_blocked_function_has_none(local):
    """`block_network` leaves no way out."""
    done = local("modal", "run", "outward.py::blocked")
    assert done.returncode == 0, done.stderr
    assert "no way out" in done.stdout
