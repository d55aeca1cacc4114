"""Real servers for the tests of what a service tells of itself."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import uvicorn

PATIENCE_S = 120  # a deadline against hangs, never a measurement


def eventually(found: Callable[[], object]) -> object:
    """What a function finds, once it finds something."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.02)
    return found()


@pytest.fixture(name="eventually")
def _eventually():
    return eventually


@contextmanager
def served(app) -> Iterator[httpx.Client]:
    """A client of an ASGI app on a real port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        config = uvicorn.Config(app, log_level="error", lifespan="off", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: server.run([listening]), daemon=True)
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            yield client
        server.should_exit = True
        thread.join()


@pytest.fixture(name="served")
def _served():
    return served


class Receiver:
    """A real HTTP server that keeps what it is sent.

    Attributes:
        statuses: What it answers next; 200 when there are none.
        taken: Path, headers and body of each request.
    """

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.taken.append((self.path, headers, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(body) for _, _, body in list(self.taken)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of POST requests."""
    one = Receiver()
    yield one
    one.close()


@pytest.fixture(scope="module")
def receiving() -> type[Receiver]:
    """The receiver's class, for whoever needs one for longer than a test."""
    return Receiver
