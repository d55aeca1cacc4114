"""Servers behind their URLs: replicas, limits, credentials, and how versions give way."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from inspect import signature
from urllib.parse import urlsplit

import httpx
import modal
import pytest

SLOW = httpx.Timeout(100)


@pytest.fixture
def url(plane, client, wait_until):
    """Return the URL of a server of the app, once a replica answers."""

    def find(name: str, **headers: str) -> str:
        server = modal.Server.from_name(plane.deploy("web_plain"), name, client=client)
        found = server.get_url()

        def answers() -> bool:
            return httpx.get(found, timeout=SLOW, headers=headers).status_code == 200

        wait_until(answers, f"{name} answers")
        return found

    return find


@pytest.fixture
def keys(plane) -> dict[str, str]:
    return {
        "Modal-Key": plane.exports["MODALKIT_PROXY_KEY"],
        "Modal-Secret": plane.exports["MODALKIT_PROXY_SECRET"],
    }


def test_beyond_its_maximum_a_server_answers_429(url):
    """`max_concurrency` counts requests that are being answered, not connections."""
    if "max_concurrency" not in signature(modal.App.server).parameters:
        pytest.skip("this modal's servers have no max_concurrency (1.6's have)")
    at = url("Narrow")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: httpx.get(f"{at}/?s=1", timeout=SLOW), range(8)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(200) >= 2
    assert set(statuses) == {200, 429}
    assert "2 requests" in next(one for one in answers if one.status_code == 429).text
    assert httpx.get(at, timeout=SLOW).status_code == 200


def test_idle_connections_are_not_load(url):
    """A connection without a request does not count against the maximum."""
    at = url("Narrow")
    clients = [httpx.Client(timeout=SLOW) for _ in range(5)]
    assert [one.get(at).status_code for one in clients] == [200] * 5
    for one in clients:
        one.close()


def test_replicas_share_the_requests_of_one_connection(url, wait_until):
    """Each request goes to the least busy replica, whichever connection it came on."""
    at = url("Two")
    with httpx.Client(timeout=SLOW) as client:
        seen: set[str] = set()
        wait_until(lambda: seen.add(client.get(at).text) or len(seen) == 2, "both have answered")


@pytest.mark.parametrize("header", ["Modal-Session-ID", "Modal-Routing-Affinity-Key"])
def test_a_session_stays_on_its_replica(url, wait_until, header):
    """Each header for it leads to one replica as long as the replicas stay."""
    at = url("Two")
    seen: set[str] = set()
    wait_until(lambda: seen.add(httpx.get(at, timeout=SLOW).text) or len(seen) == 2, "two")
    for session in ("a", "b", "c"):
        headers = {header: session}
        answers = {httpx.get(at, headers=headers, timeout=SLOW).text for _ in range(4)}
        assert len(answers) == 1


def test_target_concurrency_adds_replicas(url, wait_until):
    """More requests at a time than replicas are meant for start others."""
    at, seen = url("Growing"), set()

    def ask(_: int) -> None:
        seen.add(httpx.get(f"{at}/?s=0.5", timeout=SLOW).text)

    def rush() -> bool:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(ask, range(6)))
        return len(seen) > 1

    wait_until(rush, "a second replica answers")


def test_every_request_of_a_connection_shows_its_credentials(url, keys):
    """A request without them is refused even after one with them."""
    at = url("Guarded", **keys)
    with httpx.Client(timeout=SLOW) as client:
        assert client.get(at, headers=keys).status_code == 200
        refused = client.get(at)
        assert refused.status_code == 401
        assert "missing credentials for proxy authorization" in refused.text
        wrong = client.get(at, headers={**keys, "Modal-Secret": "ws-no"})
        assert "invalid credentials for proxy authorization" in wrong.text


def test_large_bodies_and_head_requests(url):
    """A body of any size reaches the server; the answer to HEAD leaves the connection usable."""
    at = url("Two")
    with httpx.Client(timeout=SLOW) as client:
        assert client.post(at, content=bytes(50_000_000)).text == "50000000"
        assert client.head(at).headers["content-length"] != "0"
        assert client.get(at).status_code == 200


def test_events_of_a_server_are_not_buffered(url):
    """The first piece of a response is here long before its last."""
    at = url("Two")
    with httpx.stream("GET", f"{at}/?events=10&s=0.1", timeout=SLOW) as answer:
        arrived = [time.monotonic() for _ in answer.iter_raw()]
    assert arrived[-1] - arrived[0] > 0.5


def test_a_server_that_hangs_up_is_a_502(url):
    """A connection that the server closes without an answer is an error of the gateway."""
    answer = httpx.get(f"{url('Two')}/?empty=1", timeout=SLOW)
    assert answer.status_code == 502


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         b"400"),
    ],
)  # fmt: skip
def test_what_is_not_http_is_refused(url, sent, status):
    """A request that the server might read differently never reaches it."""
    place = urlsplit(url("Two"))
    with socket.create_connection((place.hostname, place.port), timeout=100) as connection:
        connection.sendall(sent)
        assert connection.recv(100).startswith(b"HTTP/1.1 " + status)


def test_requests_in_flight_finish_when_a_new_version_comes(planes, tmp_path):
    """A redeploy cuts nobody off, and until the new version answers the old one does."""
    if find_spec("modal.experimental.flash_server") is None:
        pytest.skip("this modal's containers leave it to Modal's machines to drain (1.6's drain)")
    plane = planes(tmp_path / "state")
    source = tmp_path / "versions.py"
    source.write_text(VERSIONS)
    deploy = ["deploy", str(source)]
    done = plane.modal(*deploy, VERSION="one")
    assert done.returncode == 0, done.stderr
    shown = plane.python(
        "import modal; print(modal.Server.from_name('versions', 'Versioned').get_url())"
    )
    url = shown.stdout.strip()
    deadline = time.monotonic() + 100
    while httpx.get(url, timeout=SLOW).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    slow: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: slow.append(httpx.get(f"{url}?s=8", timeout=SLOW)))
    asking.start()
    time.sleep(0.5)
    assert plane.modal(*deploy, VERSION="two").returncode == 0
    while "two" not in (answer := httpx.get(url, timeout=SLOW)).text:
        assert answer.status_code == 200
        assert time.monotonic() < deadline + 100
        time.sleep(0.05)
    asking.join()
    assert slow[0].status_code == 200
    assert slow[0].text.endswith("one")
    assert plane.modal(*deploy, VERSION="three").returncode == 0
    while "three" not in (answer := httpx.get(url, timeout=SLOW)).text:
        assert answer.status_code == 200  # it was idle when the third version came
        assert time.monotonic() < deadline + 200
        time.sleep(0.3)


VERSIONS = '''
import os, subprocess, sys
import modal

app = modal.App("versions")
SERVER = """
import http.server, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(float(self.path.partition("s=")[2] or 0))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["VERSION"].encode())
time.sleep(1.5)  # it listens long after enter() has returned
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""

@app.server(port=8000, unauthenticated=True, min_containers=1,
            env={"VERSION": os.environ.get("VERSION", "")})
class Versioned:
    @modal.enter()
    def start(self):
        subprocess.Popen([sys.executable, "-c", SERVER])
'''
