"""The client on the wire: framings, cuts, kept connections, failures by class."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.bench.answers import Answer
from modalkit.bench.target import parse_url
from modalkit.bench.wire import Client, _Body

from .conftest import END, STREAM, event, token, usage, whole

PATIENCE_S = 60  # a deadline against hangs, never a measurement


def ask(url: str, count: int = 1, timeout_s: float = PATIENCE_S) -> list[Answer]:
    """Ask so often, one after the other."""

    async def asked() -> list[Answer]:
        client = Client(parse_url(url, {}), timeout_s)
        answers = []
        for _ in range(count):
            answer = Answer(time.perf_counter())
            await client.ask(client.target.request("POST", "/x", b"{}"), answer)
            answers.append(answer)
        answers[0].cut_off = lambda: None
        opened.append(client.opened)
        client.close()
        return answers

    opened: list[int] = []
    answers = asyncio.run(asked())
    answers[0].message = answers[0].message or str(opened[0])
    return answers


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=8),
    st.lists(st.integers(1, 30), max_size=200),
)
def test_chunks_come_out_whole_however_they_are_cut(pieces, cuts):
    """A chunked body is the same whatever packets its bytes travel in."""
    framed = b"".join(f"{len(one):x}\r\n".encode() + one + b"\r\n" for one in pieces) + b"0\r\n\r\n"
    body = _Body({"transfer-encoding": "chunked"})
    found, ended, at = b"", False, 0
    for cut in [*cuts, len(framed)]:
        piece, ended_now = body.feed(framed[at : at + cut])
        found, ended, at = found + piece, ended or ended_now, at + cut
    assert found == b"".join(pieces)
    assert ended


def test_a_connection_is_kept(stand_in):
    """Requests of known length go over one connection."""

    async def reply(_path, _body, writer):
        writer.write(whole("200 OK", b'{"usage": {"prompt_tokens": 7}}'))

    answers = ask(stand_in(reply).url, 5)
    assert [one.failure for one in answers] == [""] * 5
    assert answers[0].tokens_in == 7
    assert answers[0].message == "1"


def test_a_stream_is_read_token_by_token(stand_in):
    """Events that arrive in one packet or cut in the middle are each one token; usage counts."""

    async def reply(_path, _body, writer):
        half = token()
        writer.write(STREAM + token() + token() + half[:20])
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(half[20:] + usage(11, 3) + event("[DONE]") + END)

    (answer,) = ask(stand_in(reply).url)
    assert len(answer.stamps) == 3
    assert (answer.tokens_in, answer.tokens_out) == (11, 3)
    assert not answer.failure


def test_any_stream_of_events_is_timed_event_by_event(stand_in):
    """A typed route that streams has a piece for each event, JSON or not; comments are none."""

    async def reply(_path, _body, writer):
        writer.write(STREAM + event({"part": 1}) + event("plain") + event([1]) + END)

    (answer,) = ask(stand_in(reply).url)
    assert (len(answer.stamps), answer.tokens_out, answer.failure) == (3, 3, "")


def test_a_body_without_a_length_ends_with_its_connection(stand_in):
    """Old servers say neither length nor chunks: the end of the connection is the end."""

    async def reply(_path, _body, writer):
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n{}")
        await writer.drain()
        writer.close()

    assert ask(stand_in(reply).url)[0].failure == ""


def test_a_kept_connection_that_the_server_closed_is_replaced(stand_in):
    """A server may close what is idle; the next request goes over another connection."""

    async def reply(_path, _body, writer):
        writer.write(whole("200 OK", b"{}"))
        await writer.drain()
        if len(server.moments) % 2:
            writer.close()

    server = stand_in(reply)
    assert [one.failure for one in ask(server.url, 6)] == [""] * 6


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        (whole("429 Too Many Requests", b"slow down"), "http 429"),
        (whole("500 Internal Server Error", b""), "http 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "cut off"),
        (STREAM + token(), "cut off"),
        (STREAM + event("[DONE]") + END, "no tokens"),
        (STREAM + token() + event({"error": {"message": "out of memory"}}) + END, "stream error"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "malformed"),
        (b"", "cut off"),
    ],
)
def test_what_goes_wrong_has_a_class(stand_in, said, failure):
    """Every way to fail has its own name, and what was said is kept."""

    async def reply(_path, _body, writer):
        writer.write(said)
        await writer.drain()
        writer.close()

    assert ask(stand_in(reply).url)[0].failure == failure


def test_a_slow_answer_is_a_timeout(stand_in):
    """A request ends when its time is over, and the next one is answered."""
    slow = [True]

    async def reply(_path, _body, writer):
        if slow.pop() if slow else False:
            await asyncio.sleep(PATIENCE_S)
        writer.write(whole("200 OK", b"{}"))

    first, second = ask(stand_in(reply).url, 2, timeout_s=3)
    assert (first.failure, second.failure) == ("timeout", "")


def test_nobody_there_is_a_failed_connect():
    """A port that nobody listens on is a failed connect."""
    assert ask("http://127.0.0.1:9")[0].failure == "connect"


def completion(text, finish_reason=None):
    return {"choices": [{"index": 0, "text": text, "finish_reason": finish_reason}]}


def spoken(delta, finish_reason=None):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


@pytest.mark.parametrize(
    ("pieces", "tokens"),
    [
        ([completion(""), completion(""), completion("", "length")], 2),
        ([completion(""), completion("a", "length")], 2),
        ([completion("", "stop")], 0),
        ([spoken({"role": "assistant", "content": ""}), spoken({"content": "a"})], 1),
        ([spoken({"role": "assistant", "content": ""}), spoken({}, "stop")], 0),
        ([spoken({"content": "a"}), spoken({"content": ""}), spoken({}, "stop")], 2),
    ],
)
def test_a_token_without_a_text_counts_where_nothing_else_is_without_one(pieces, tokens):
    """A completion may begin with half a character, whose text comes later; a chat begins with a role."""
    answer = Answer(0.0)
    answer.head(200, {"content-type": "text/event-stream"})
    for at, piece in enumerate(pieces):
        answer.feed(f"data: {json.dumps(piece)}\n\n".encode(), float(at))
    answer.end(9.0)
    assert len(answer.stamps) == tokens
    assert answer.failure == ("" if tokens else "no tokens")


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_a_typed_stream_has_a_token_a_piece(cut):
    """The events that say how a stream of modalkit's ends are no tokens; one says that it failed."""

    def read(stream: bytes) -> Answer:
        answer = Answer(0.0)
        answer.head(200, {"content-type": "text/event-stream; charset=utf-8"})
        for at in range(0, len(stream), cut):
            answer.feed(stream[at : at + cut], 1.0)
        answer.end(2.0)
        return answer

    pieces = b'data: 0\n\ndata: "a"\n\n'
    whole = read(pieces + b"event: end\ndata:\n\n")
    assert (whole.tokens_out, whole.failure) == (2, "")
    broken = read(pieces + b'event: error\ndata: {"detail": "no more"}\n\n')
    assert (len(broken.stamps), broken.failure) == (2, "stream error")
    assert "no more" in broken.message
