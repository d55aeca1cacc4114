"""HTTP/1.1 on the wire, and a gateway that clients treat badly."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import h11
import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from modalkit.local.wire.http1 import ChunkedBody, HttpError, parse_request

SLOW = httpx.Timeout(100)
APPS = Path(__file__).parent / "apps"


@given(st.lists(st.binary(min_size=1, max_size=300)), st.data())
def test_a_chunked_body_comes_out_whole_however_it_is_cut(pieces, data):
    """Whatever the reads, the body is what was sent and what follows it is left alone."""
    wire = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    wire += b"0\r\nX-Trailer: 1\r\n\r\n" + b"GET /next"
    body, got, rest = ChunkedBody(), b"", b""
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        piece, wire = wire[:size], wire[size:]
        if body.done:
            rest += piece
            continue
        mine, after = body.feed(piece)
        got += mine
        rest += after
    assert (got, rest, body.done) == (b"".join(pieces), b"GET /next", True)


@given(st.binary(max_size=60))
def test_a_head_that_is_taken_reads_the_same_to_another_parser(line):
    """What is accepted here h11 accepts too, with the same headers: nothing can be smuggled."""
    raw = b"GET / HTTP/1.1\r\nHost: x\r\nA" + line + b"\r\n\r\n"
    assume(b"\r\n\r\n" not in raw[:-4])
    try:
        head = parse_request(raw)
    except HttpError:
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(raw)
    assert list(other.next_event().headers) == head.headers


@pytest.fixture
def place(function):
    url = urlsplit(function("web_plain", "plain").get_web_url())
    httpx.get(url.geturl(), timeout=SLOW)
    return url.hostname, url.port


def handles(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_idle_and_broken_connections_leave_nothing_behind(place, plane, wait_until):
    """A thousand idle connections do not hinder a request, and none is left when they go."""
    before = handles(plane.process.pid)
    with contextlib.ExitStack() as stack:
        for number in range(1000):
            connection = stack.enter_context(socket.create_connection(place, timeout=100))
            connection.sendall((b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n")[number % 3])
        url = "http://{}:{}/seen".format(*place)
        assert httpx.get(url, timeout=SLOW).status_code == 200
        assert handles(plane.process.pid) >= before + 900
    wait_until(lambda: handles(plane.process.pid) <= before + 20, "the handles are closed")


def test_a_client_that_does_not_finish_its_request_is_let_go(place):
    """Half a head is answered with 408 after a while, half a request that ends with 400."""
    with socket.create_connection(place, timeout=100) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection(place, timeout=100) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium on PATH")
def test_the_docs_page_opens_in_a_browser(function):
    """A browser opens `docs=True`'s page; its script comes from the internet, so no further."""
    url = function("web", "double").get_web_url()
    assert "/" in httpx.get(f"{url}/openapi.json", timeout=SLOW).json()["paths"]
    shown = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"{url}/docs"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert "Swagger UI" in shown.stdout
    assert "/openapi.json" in shown.stdout


@pytest.fixture
def impatient(state_folder: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of the app on a plane that redirects after a second instead of 150."""
    program = f"""
import asyncio, json, sys
from pathlib import Path
from modalkit.local.address import Address
from modalkit.local.plane import LocalModal
from modalkit.local.settings import Settings
async def main():
    plane = LocalModal(Address(Path({str(tmp_path)!r})), lambda text: None, Settings(response_wait_s=1))
    await plane.start()
    print(json.dumps(plane._address.exports()), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await plane.stop()
asyncio.run(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    env = {**os.environ, **json.loads(process.stdout.readline())}
    modal = [sys.executable, "-m", "modal"]
    subprocess.run([*modal, "deploy", str(APPS / "web_plain.py")], env=env, check=True)
    asked = "import modal; print(modal.Function.from_name('web_plain', 'plain').get_web_url())"
    found = subprocess.run(
        [sys.executable, "-c", asked], env=env, check=True, capture_output=True, text=True
    )
    yield found.stdout.strip()
    process.stdin.close()
    assert process.wait(100) == 0


def test_a_long_request_goes_on_at_another_url(impatient):
    """As on Modal: 303 to a URL that waits for the same call and may be loaded again."""
    httpx.get(f"{impatient}/seen", timeout=SLOW, follow_redirects=True)
    first = httpx.post(f"{impatient}/late?s=4", content=b"x", timeout=SLOW)
    assert first.status_code == 303
    location = first.headers["location"]
    assert location.startswith(f"{impatient}/late?s=4&__modal_function_call_id=fc-")
    assert httpx.post(location, timeout=SLOW).text == "modal-http: bad redirect method"
    answer = httpx.get(location, timeout=SLOW, follow_redirects=True)
    assert answer.json()["slept"] == "4"
    assert len(answer.history) >= 1
    assert httpx.get(location, timeout=SLOW).text == "modal-http: invalid function call"
