"""Writes of an HTTP connection: what leaves together, and what does not wait."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.declare.endpoints import Endpoint
from modalkit.declare.routes import Route, endpoint
from modalkit.runtime.custom_host import CustomHost
from modalkit.runtime.custom_server import CustomServer
from modalkit.runtime.gathered_writes import GatheredWrites

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class WrittenDown(asyncio.Transport):
    """A stand-in for a connection: it keeps what leaves, by system calls."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[bytes] = []
        self.closing = False

    def write(self, data):
        self.left.append(bytes(data))

    def is_closing(self):
        return self.closing

    def close(self):
        self.closing = True


class Connection:
    """Gathered writes on a loop that turns, and a clock that goes on, when they are told to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.now = 100.0
        self.transport = WrittenDown()
        self.writes = GatheredWrites(self.transport, self.loop, lambda: self.now)

    def turn(self) -> None:
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    @property
    def left(self) -> list[bytes]:
        return self.transport.left


@pytest.fixture
def connection():
    one = Connection()
    yield one
    one.loop.close()


def test_an_answer_leaves_with_its_head(connection):
    """Head and body are one call, without waiting for the loop, on a fresh connection and after an answer."""
    for number in range(1, 3):
        connection.writes.write(HEAD)
        assert len(connection.left) == number - 1
        connection.writes.write(b"body")
        assert connection.left == [HEAD + b"body"] * number


def test_a_head_alone_leaves_when_the_loop_turns(connection):
    """An app that says it has begun, and then works, is heard."""
    connection.writes.write(HEAD)
    connection.turn()
    assert connection.left == [HEAD]
    connection.turn()
    assert len(connection.left) == 1


def test_pieces_of_one_turn_leave_in_one_call(connection):
    """The first leaves with the head, those that are ready at once with each other."""
    for piece in (HEAD, b"1", b"2", b"3"):
        connection.writes.write(piece)
    connection.turn()
    connection.writes.write(b"4")
    connection.turn()
    assert connection.left == [HEAD + b"1", b"23", b"4"]


def test_a_piece_that_took_its_time_leaves_at_once(connection):
    """Whoever computes between pieces, and keeps the loop, has none of them kept back."""
    for piece in (HEAD, b"1", b"2", b"3"):
        connection.writes.write(piece)
        connection.now += 0.02
    assert connection.left == [HEAD + b"1", b"2", b"3"]


def test_what_waits_leaves_with_the_first_that_is_late(connection):
    """A generator that gives the loop back too rarely keeps pieces no longer than a millisecond."""
    for piece in (HEAD, b"1", b"2", b"3", b"4"):
        connection.writes.write(piece)
        connection.now += 0.0004
    assert connection.left == [HEAD + b"1", b"234"]


def test_much_does_not_wait(connection):
    """What a transport would hold back from its writer is the transport's to hold."""
    large = b"x" * 40_000
    for piece in (HEAD, b"1", large, large, b"2"):
        connection.writes.write(piece)
    assert connection.left == [HEAD + b"1", large + large]
    connection.turn()
    assert connection.left[-1] == b"2"


def test_any_kind_of_bytes_leaves(connection):
    """An app may answer with a view of a buffer, as with bytes."""
    for piece in (HEAD, memoryview(b"1"), bytearray(b"2"), memoryview(b"3")):
        connection.writes.write(piece)
    connection.turn()
    assert b"".join(connection.left) == HEAD + b"123"


def test_a_closed_connection_has_sent_everything(connection):
    """What waits leaves before the connection is closed; for one whose other end left, nothing does."""
    connection.writes.write(HEAD)
    connection.writes.close()
    assert (connection.left, connection.transport.closing) == ([HEAD], True)
    connection.writes.write(b"late")
    connection.turn()
    assert connection.left == [HEAD]


@given(st.lists(st.tuples(st.sampled_from([HEAD, b"a", b"bc", b"d" * 70_000]), st.booleans())))
def test_nothing_is_lost_or_swapped(writes):
    """Whatever is written, whenever the loop turns: the same bytes in the same order."""
    connection = Connection()
    for data, turns in writes:
        connection.writes.write(data)
        connection.now += 0.0003
        if turns:
            connection.turn()
    connection.writes.close()
    connection.loop.close()
    sent = b"".join(connection.left)
    assert sent == b"".join(data for data, _ in writes)


class Service:
    """One route."""

    weights = None

    def load(self) -> None: ...
    def wake(self) -> None: ...
    def warm_up(self) -> None: ...
    def unload(self) -> None: ...

    @endpoint("/repeat")
    async def repeat(self, text: str, times: int = 1) -> str:
        return text * times

    @endpoint("/count")
    async def count(self, limit: int) -> AsyncIterator[int]:
        for number in range(limit):
            yield number


@pytest.fixture(scope="module")
def address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rules = Endpoint(kind="server", public=True, port=port)
    routes = {name: one for name, one in vars(Service).items() if isinstance(one, Route)}
    server = CustomServer(CustomHost(Service(), routes), rules)
    server.start()
    yield "127.0.0.1", port
    server.stop()


def request(text: str, times: int = 1, *headers: str) -> bytes:
    body = json.dumps({"text": text, "times": times}).encode()
    head = ["POST /repeat HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def answers(address, sent: bytes) -> bytes:
    """All that comes for what is sent, until the server closes the connection."""
    with socket.create_connection(address, timeout=120) as line:
        line.sendall(sent)
        return b"".join(iter(lambda: line.recv(65_536), b""))


def test_answers_of_one_connection_come_whole_and_in_order(address):
    """Requests sent at once are answered one after the other; the last answer is whole before the end."""
    came = answers(
        address, request("a") + request("b", 200_000) + request("c", 1, "connection: close")
    )
    bodies = [part.partition(b"\r\n\r\n")[2] for part in came.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b'"a"', b'"' + b"b" * 200_000 + b'"', b'"c"']


def test_whoever_sends_no_more_still_gets_the_whole_stream(address):
    """A client may close its half once it has asked; pieces that wait for the loop's turn come none the less."""
    body = b'{"limit": 30}'
    head = f"POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(address, timeout=120) as line:
        line.sendall(head.encode() + body, getattr(socket, "MSG_MORE", 0))  # its end comes with it
        line.shutdown(socket.SHUT_WR)
        came = b"".join(iter(lambda: line.recv(65_536), b""))
    assert came.count(b"data: ") >= 30
    assert b"data: 29" in came


def test_a_sender_that_waits_to_be_asked_is_asked(address):
    """``Expect: 100-continue`` is answered before the body has come."""
    head, _, body = request("a", 1, "expect: 100-continue", "connection: close").partition(
        b"\r\n\r\n"
    )
    with socket.create_connection(address, timeout=120) as line:
        line.sendall(head + b"\r\n\r\n")
        assert line.recv(65_536).startswith(b"HTTP/1.1 100")
        line.sendall(body)
        came = b"".join(iter(lambda: line.recv(65_536), b""))
    assert came.startswith(b"HTTP/1.1 200")
    assert came.endswith(b'"a"')
