"""A custom service on a port of its own: a real server in its thread."""

from __future__ import annotations

import socket
import sys

import httpx
import pytest

from modalkit.declare.endpoints import Endpoint
from modalkit.declare.routes import endpoint
from modalkit.errors import EngineError
from modalkit.runtime.custom_host import CustomHost
from modalkit.runtime.custom_server import CustomServer

from .ports import free_port


class Counter:
    """Counts what is asked of it, and writes down its life."""

    def __init__(self) -> None:
        self.life: list[str] = []

    async def load(self) -> None:
        self.life.append("load")

    def wake(self) -> None:
        self.life.append("wake")

    def warm_up(self) -> None:
        self.life.append("warm_up")

    async def unload(self) -> None:
        self.life.append("unload")

    @endpoint("/length")
    def length(self, text: str) -> int:
        return len(text)


class Broken(Counter):
    """Fails to load."""

    async def load(self) -> None:
        msg = "no weights"
        raise OSError(msg)


class Leaving(Counter):
    """Ends the process while it loads."""

    async def load(self) -> None:
        sys.exit("no GPU")


class BrokenWarmUp(Counter):
    """Fails in its first run."""

    def warm_up(self) -> None:
        msg = "out of memory"
        raise MemoryError(msg)


class BrokenUnload(Counter):
    """Fails to let go."""

    async def unload(self) -> None:
        msg = "still in use"
        raise OSError(msg)


def server_of(service, port=None):
    rules = Endpoint(kind="server", public=True, port=port or free_port())
    host = CustomHost(service, {"length": vars(Counter)["length"]})
    return CustomServer(host, rules), f"http://127.0.0.1:{rules.port}"


def test_a_server_lives_from_start_to_stop():
    """The model is loaded warmed up before the port answers; stop unloads it and closes the port."""
    service = Counter()
    server, url = server_of(service)
    server.start()
    assert service.life == ["load", "wake", "warm_up"]
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}
    assert httpx.post(f"{url}/length", json={"text": "four"}).json() == 4
    server.stop()
    assert service.life == ["load", "wake", "warm_up", "unload"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_a_taken_port_is_an_error_before_the_model_is_loaded():
    """A port that something else holds ends the start at once, with its number."""
    service = Counter()
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        server, _ = server_of(service, port)
        with pytest.raises(EngineError, match=rf"Port {port} could not be opened: Address already"):
            server.start()
    assert service.life == []


@pytest.mark.parametrize(
    ("service", "error", "message"),
    [
        (Broken, OSError, "no weights"),
        (BrokenWarmUp, MemoryError, "out of memory"),
        (Leaving, EngineError, r"sys\.exit\('no GPU'\)"),
    ],
)
def test_a_start_that_fails_says_why(service, error, message):
    """Whatever ends load or warm_up, sys.exit included, is raised by start, and the port is free."""
    server, url = server_of(service())
    with pytest.raises(error, match=message):
        server.start()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_an_unload_that_fails_is_raised_by_stop():
    """An error while the model is released reaches the container's log."""
    server, _ = server_of(BrokenUnload())
    server.start()
    with pytest.raises(OSError, match="still in use"):
        server.stop()
