"""Servers of a known pace, in this process and on a port of their own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

Reply = Callable[[str, bytes, asyncio.StreamWriter], Awaitable[None]]


class StandInServer:
    """A stand-in endpoint: answers HTTP with what a test gives it, at the pace the test gives it.

    Attributes:
        url: Where.
        bodies: What it was sent.
        heads: The heads of these requests.
        moments: When each arrived.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.url = ""
        self.bodies: list[bytes] = []
        self.heads: list[str] = []
        self.moments: list[float] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lengths = [
                    line for line in head.lower().split("\r\n") if line.startswith("content-length")
                ]
                body = await reader.readexactly(int(lengths[0].split(":")[1])) if lengths else b""
                method, path, _ = head.split(" ", 2)
                if method == "POST":
                    self.moments.append(time.perf_counter())
                    self.bodies.append(body)
                    self.heads.append(head)
                await self._reply(path, body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
def stand_in() -> Iterator[Callable[[Reply], StandInServer]]:
    """Start stand-in endpoints, each in a thread of its own, until the test ends."""
    stops: list[Callable[[], None]] = []

    def start(reply: Reply) -> StandInServer:
        server = StandInServer(reply)
        stops.append(_in_thread(server))
        return server

    yield start
    for stop in stops:
        stop()


def _in_thread(server: StandInServer) -> Callable[[], None]:
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stopped = asyncio.Event()

    async def run() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        ready.set()
        await stopped.wait()
        listening.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert ready.wait(60)

    def stop() -> None:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(60)

    return stop


def whole(status: str, body: bytes, kind: str = "application/json", extra: str = "") -> bytes:
    """An answer of a known length."""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


def event(data: object) -> bytes:
    """A chunk that holds one event."""
    text = data if isinstance(data, str) else json.dumps(data)
    line = f"data: {text}\n\n".encode()
    return f"{len(line):x}\r\n".encode() + line + b"\r\n"


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
MODELS = whole("200 OK", json.dumps({"data": [{"id": "stand-in"}]}).encode())


def token(text: str = "word ") -> bytes:
    """An event with a token of a chat."""
    return event({"choices": [{"delta": {"content": text}, "finish_reason": None}]})


def usage(tokens_in: int, tokens_out: int) -> bytes:
    """The event with the counts."""
    return event(
        {"choices": [], "usage": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}}
    )
