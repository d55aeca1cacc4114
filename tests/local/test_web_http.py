"""HTTP through the gateway of a web function, message by message."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import httpx
import pytest

SLOW = httpx.Timeout(100)
MIB = 1024 * 1024


@pytest.fixture
def url(function) -> str:
    return function("web_plain", "plain").get_web_url()


@pytest.fixture
def notes(url):
    """What the app has noted down so far."""
    return lambda: httpx.get(f"{url}/notes", timeout=SLOW).json()


@pytest.fixture
def talk(url):
    """Send bytes on a connection of their own and return everything that comes back."""

    def send(data: bytes) -> bytes:
        place = urlsplit(url)
        with socket.create_connection((place.hostname, place.port), timeout=100) as connection:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    return send


def memory_mib(pid: int) -> float:
    """Return how much memory a process has now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_every_method_reaches_the_app(url, method):
    """The method, the path as sent and as read, the query and the body are the app's."""
    answer = httpx.request(
        method, f"{url}/a%20b/%2F?x=1&x=%20&y", content=b"body \xff", timeout=SLOW
    ).json()
    assert answer["method"] == method
    assert (answer["path"], answer["raw_path"]) == ("/a b//", "/a%20b/%2F")
    assert (answer["query"], answer["body"]) == ("x=1&x=%20&y", "body ÿ")


def test_headers_come_twice_and_cookies_too(url):
    """A header that is sent twice arrives twice, both ways."""
    sent = [("X-Twice", "one"), ("X-Twice", "two"), ("Cookie", "c=3")]
    answer = httpx.get(f"{url}/seen", headers=sent, timeout=SLOW)
    got = [pair for pair in answer.json()["headers"] if pair[0] in {"x-twice", "cookie"}]
    assert got == [["x-twice", "one"], ["x-twice", "two"], ["cookie", "c=3"]]
    assert answer.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2; HttpOnly"]
    assert answer.headers["modal-function-call-id"].startswith("fc-")


def test_head_and_no_content_have_no_body(talk):
    """The answers to HEAD and with 204 end after their heads, so the connection goes on."""
    requests = [b"HEAD /seen", b"GET /nothing", b"GET /notes"]
    data = talk(b"".join(b"%s HTTP/1.1\r\nHost: x\r\n\r\n" % one for one in requests[:2])
                + b"%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % requests[2])  # fmt: skip
    first, second, third = data.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200")
    assert first.endswith(b"\r\n\r\n")
    assert second.startswith(b"204")
    assert b"content-length" not in second
    assert b"transfer-encoding" not in second
    assert third.startswith(b"200")


def test_redirects_are_the_apps(url):
    """A redirect is passed on as it is and can be followed."""
    answer = httpx.post(f"{url}/elsewhere", content=b"kept", timeout=SLOW)
    assert (answer.status_code, answer.headers["location"]) == (307, "/seen")
    followed = httpx.post(f"{url}/elsewhere", content=b"x", timeout=SLOW, follow_redirects=True)
    assert followed.json()["body"] == "x"


def test_a_connection_serves_many_requests(url):
    """Connections stay open between requests."""
    with httpx.Client(timeout=SLOW) as client:
        ports = set()
        for _ in range(5):
            with client.stream("GET", f"{url}/seen") as answer:
                stream = answer.extensions["network_stream"]
                ports.add(stream.get_extra_info("client_addr"))
                answer.read()
        assert len(ports) == 1


def answered(connection: socket.socket) -> tuple[int, bytes]:
    """Read an answer to its end, whether or not it comes in chunks; its status and body."""
    with http.client.HTTPResponse(connection) as answer:
        answer.begin()
        return answer.status, answer.read()


def test_a_client_may_ask_before_it_sends(url):
    """`Expect: 100-continue` is answered before the body comes."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=100) as connection:
        connection.sendall(
            b"POST /seen HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n"
            b"Connection: close\r\n\r\n"
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        _status, answer = answered(connection)
    assert json.loads(answer)["body"] == "body"


def test_a_body_may_come_in_pieces(url):
    """A body that is read whole arrives however much of it comes at a time."""
    place = urlsplit(url)
    body = b"x" * 900_000
    with socket.create_connection((place.hostname, place.port), timeout=100) as connection:
        head = f"POST /seen HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body[:600_000])
        time.sleep(0.2)
        connection.sendall(body[600_000:])
        status, answer = answered(connection)
    assert status == 200
    assert len(json.loads(answer)["body"]) == len(body)


def test_an_old_client_gets_its_answer_until_the_end_of_the_connection(talk):
    """HTTP/1.0 knows no chunks: a stream ends with its connection."""
    answer = talk(b"GET /large?mib=1 HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert len(body) == MIB


def test_large_bodies_leave_the_planes_memory_flat(url, plane):
    """200 MiB pass in each direction; the plane holds at most a window of the container's 64 MiB."""
    before = memory_mib(plane.process.pid)
    peak = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], memory_mib(plane.process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    piece, count = bytes(range(256)) * 4096, 200

    def body() -> Iterator[bytes]:
        for _ in range(count):
            yield piece

    answer = httpx.post(f"{url}/digest", content=body(), timeout=SLOW).json()
    got = 0
    with httpx.stream("GET", f"{url}/large?mib={count}", timeout=SLOW) as stream:
        for data in stream.iter_raw():
            got += len(data)
    done.set()
    watcher.join()
    assert answer["count"] == got == count * MIB
    assert answer["sha256"] == hashlib.sha256(piece * count).hexdigest()
    assert peak[0] - before < 120


def test_a_slow_client_costs_the_plane_no_memory(url, plane):
    """What a client does not take waits in the container, not in the plane."""
    with httpx.stream("GET", f"{url}/large?mib=200", timeout=SLOW) as answer:
        chunks = answer.iter_raw()
        got = len(next(chunks))
        before = memory_mib(plane.process.pid)
        for _ in range(20):
            time.sleep(0.1)
            assert memory_mib(plane.process.pid) - before < 100
        assert got + sum(len(data) for data in chunks) == 200 * MIB


def test_each_event_comes_before_the_next_is_made(url):
    """Server-sent events are not buffered: the app makes the next when the client has the last."""
    with httpx.stream("GET", f"{url}/events?key=e1", timeout=SLOW) as answer:
        for number, line in enumerate(line for line in answer.iter_lines() if line):
            assert line == f"data: {number}"
            httpx.get(f"{url}/go?key=e1", timeout=SLOW)
    assert number == 2


def test_a_disconnect_is_the_apps_to_hear(url, notes, wait_until):
    """An app that listens is told that its client went away."""
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{url}/listening?key=d1", timeout=0.5)
    wait_until(lambda: "d1 http.disconnect" in notes(), "the app was told")


def test_an_app_that_does_not_listen_is_cancelled(url, notes, wait_until):
    """A request whose client is gone does not go on for ever, and its container lives on."""
    httpx.get(url, timeout=SLOW)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{url}/deaf?key=d2", timeout=2)
    wait_until(lambda: "d2 cancelled" in notes(), "the request was cancelled")
    assert "d2 began" in notes()  # the same container answers


def test_a_crash_halfway_is_seen(url):
    """A response that the app breaks off does not look complete."""
    with httpx.stream("GET", f"{url}/crash", timeout=SLOW) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.HTTPError):
            answer.read()


@pytest.mark.parametrize("path", ["wrong_length", "split_header"])
def test_a_response_that_is_not_http_is_not_sent(url, path):
    """What an app must not send is an error, never a broken or divided response."""
    try:
        answer = httpx.get(f"{url}/{path}", timeout=SLOW)
    except httpx.HTTPError:
        return
    assert answer.status_code == 500
    assert "x-two" not in answer.headers


def test_an_app_may_answer_before_the_body_has_come(url):
    """The client gets the answer; the connection is good for another request."""
    with httpx.Client(timeout=SLOW) as client:
        assert client.post(f"{url}/early", content=bytes(3 * MIB)).status_code == 413
        assert client.get(f"{url}/seen").status_code == 200


def test_lifespan_events(url):
    """The app's startup ran before its first request and its state is in every scope."""
    assert httpx.get(f"{url}/seen", timeout=SLOW).json()["state"] == "at startup"


def converse(address: str, **options):
    """Open a WebSocket and return what a conversation on it gave."""

    async def run(talk) -> object:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, **options) as connection,
        ):
            return await talk(connection)

    return lambda talk: asyncio.run(run(talk))


def test_a_websocket_carries_text_and_bytes(url):
    """Messages keep their kind, a large one its size, and pings are answered."""

    async def talk(connection):
        await connection.ping(b"are you there")
        await connection.send_str("stressed")
        await connection.send_bytes(b"\x00\xff")
        await connection.send_bytes(bytes(3 * MIB) + b"!")
        first = await connection.receive_str()
        second, third = await connection.receive_bytes(), await connection.receive_bytes()
        return first, second, third[:1], len(third)

    said = converse(url, max_msg_size=0)(talk)
    assert said == ("desserts", b"\xff\x00", b"!", 3 * MIB + 1)


def test_a_websockets_subprotocol_is_the_apps_choice(url):
    """The app sees what the client offers, and the client what the app chose."""

    async def talk(connection):
        return connection.protocol

    assert converse(url, protocols=("chat.v1", "chat.v2"))(talk) == "chat.v2"


def test_close_codes_go_both_ways(url, notes, wait_until):
    """Each side learns the code with which the other closed."""

    async def be_closed(connection):
        await connection.send_str("leave")
        message = await connection.receive()
        return connection.close_code, message.extra

    assert converse(url)(be_closed) == (4001, "as asked")

    async def close(connection):
        await connection.close(code=4002)

    converse(f"{url}/closing")(close)
    wait_until(lambda: "/closing 4002" in notes(), "the app learned the code")


def test_a_client_that_drops_a_websocket_is_noticed(url, notes, wait_until):
    """Without a closing handshake the app is told 1006."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=100) as connection:
        connection.sendall(
            b"GET /dropping HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 101")
    wait_until(lambda: "/dropping 1006" in notes(), "the app was told")


def test_an_app_may_refuse_a_websocket(url):
    """Closing before accepting is a 403."""

    async def never(_connection):
        raise AssertionError

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        converse(f"{url}/refused")(never)
    assert refused.value.status == 403


def test_a_label_gives_an_endpoint_a_url_of_its_own(function, plane):
    """The URL of a labelled endpoint depends on its label alone."""
    from modalkit.local.wire.ports import preferred_port

    found = function("web_plain", "labelled").get_web_url()
    with preferred_port("main/my-own-label") as neighbour:
        distance = neighbour.getsockname()[1] - urlsplit(found).port
    assert 1 <= distance <= 5  # its own port is taken: the label leads to one of the next
