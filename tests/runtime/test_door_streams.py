"""The door in an engine's process and a stream: at its beginning it is there, then it is gone."""

from __future__ import annotations

import asyncio
import json
import sys
from contextvars import copy_context

import pytest

from modalkit import BearerKeys, Endpoint
from modalkit.runtime.door import guarded
from modalkit.runtime.door.door import InnerKeys
from modalkit.runtime.door.visit import Visit
from modalkit.runtime.keys import KeyRing

PIECES = [b"one ", b"two ", b"three "]
CHAT = "/v1/chat/completions"


def told(
    *, length: bool, inner: InnerKeys | None, announced: bytes = b"content-length", log="requests"
):
    """Ask through the door; who called the server's ``send`` for each message, and the messages."""
    callers, messages = [], []

    async def engine(_, receive, send):
        await receive()
        headers = [(b"content-length", b"14")] if length else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in PIECES:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    def send(message):
        callers.append(sys._getframe(1).f_code.co_name)
        messages.append(message)
        return asyncio.sleep(0)

    rules = Endpoint(kind="server", auth=BearerKeys(), access_log=log)
    door = guarded(engine, rules, frozenset({CHAT}), keys=KeyRing.of(["key"]), inner=inner)
    headers = [
        (b"authorization", b"Bearer key"),
        (announced, b"2"),
        (b"x-request-id", b"a"),
    ]
    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": headers}
    asyncio.run(door(scope, receive, send))
    return callers, messages


INNER = InnerKeys("engine", "admin")


@pytest.mark.parametrize("announced", [b"content-length", b"transfer-encoding"])
@pytest.mark.parametrize("log", ["requests", "prompts"])
def test_after_the_first_piece_the_engine_calls_the_server_itself(announced, log):
    """No Python frame of the door stands between an engine and its server for a token."""
    callers, messages = told(length=False, inner=INNER, announced=announced, log=log)
    assert callers == ["watched", "watched", "engine", "engine", "engine"]
    assert (b"x-request-id", b"a") in messages[0]["headers"]
    assert [message["body"] for message in messages[1:]] == [*PIECES, b""]


@pytest.mark.parametrize(
    ("length", "inner", "bytes_out"), [(False, INNER, None), (True, INNER, 14), (False, None, 14)]
)
def test_the_log_knows_what_was_counted_or_announced(capfd, length, inner, bytes_out):
    """A stream past the door is not counted; an announced length, and what a gateway hands on, is."""
    told(length=length, inner=inner)
    (line,) = [one for one in capfd.readouterr().err.splitlines() if one.startswith('{"log"')]
    logged = json.loads(line)
    assert logged["bytes_out"] == bytes_out
    assert logged["status"] == 200
    assert logged["first_ms"] <= logged["ms"]


@pytest.mark.parametrize(
    ("others", "length"), [([], 2), ([(b"transfer-encoding", b"chunked")], None)]
)
def test_pieces_count_whatever_length_is_announced(others, length):
    """A body in pieces is held to the limit by its pieces: its server may not hold it to a length."""
    headers = [(b"content-length", b"2"), *others]
    scope = {"type": "http", "path": CHAT, "headers": headers}
    visit = copy_context().run(Visit, scope)  # its request's id is nobody else's
    assert visit.length == length
