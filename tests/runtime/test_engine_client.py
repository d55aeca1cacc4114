"""What a caller learns when an engine misbehaves, from a server that does."""

from __future__ import annotations

import asyncio
import sys

import pytest

from modalkit.errors import EngineError, EngineRequestError
from modalkit.runtime import engine_methods
from modalkit.runtime.engine_client import EngineClient
from modalkit.runtime.process import EngineProcess

MISBEHAVING = '''
import http.server, json

class Handler(http.server.BaseHTTPRequestHandler):
    """The model's name says what goes wrong."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        getattr(self, body["model"])()

    def answer(self, body, kind="application/json", length=None):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def not_json(self):
        self.answer(b"<html>hello</html>", "text/html")

    def a_list(self):
        self.answer(b"[1]")

    def cut_short(self):
        self.answer(b'{"choices": [', length=500)

    def fails_midway(self):
        good = {"choices": [{"index": 0, "delta": {"content": "half"}}]}
        bad = {"error": {"message": "out of memory", "type": "server_error"}}
        lines = b"".join(b"data: " + json.dumps(part).encode() + b"\\n\\n" for part in (good, bad))
        self.answer(lines, "text/event-stream")

    def cut_stream(self):
        self.answer(b'data: {"choices": []}\\n\\n', "text/event-stream", length=500)

    def no_usage(self):
        choice = {"message": {"content": "hi"}, "finish_reason": "stop"}
        self.answer(json.dumps({"choices": [choice]}).encode())

    def refuses(self):
        text = b"plain words"
        self.send_response(503)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args): pass

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
'''


@pytest.fixture(scope="module")
def engine():
    """A process whose port is the first line it prints."""
    process = EngineProcess("Misbehaving engine", [sys.executable, "-c", MISBEHAVING], {})
    while not process.last_lines:
        process.check()
    yield process
    process.stop(grace_s=1)


class Instance:
    """What a container's instance is to the engine methods: it holds the host."""

    def __init__(self, client: EngineClient) -> None:
        self.client = client
        self._modalkit_engine = self


def ask(engine, model, call):
    """Run one engine method against the misbehaving engine."""

    async def scenario():
        client = EngineClient(engine, f"http://127.0.0.1:{engine.last_lines[0]}", model)
        try:
            return await call(Instance(client))
        finally:
            await client.close()

    return asyncio.run(scenario())


async def collect(instance):
    """Stream an answer to its end."""
    return [piece async for piece in engine_methods.stream(instance, "x")]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("not_json", r"not a JSON object; it begins b'<html>"),
        ("a_list", "not a JSON object"),
        ("cut_short", "Misbehaving engine was lost"),
    ],
)
def test_an_answer_that_is_none_names_the_route(engine, model, said):
    """Something other than a JSON object, or half of one, is an EngineError."""
    with pytest.raises(EngineError, match=said):
        ask(engine, model, lambda instance: engine_methods.generate(instance, "x"))


@pytest.mark.parametrize(
    ("model", "said"),
    [("fails_midway", "out of memory"), ("cut_stream", "Misbehaving engine was lost")],
)
def test_a_stream_that_breaks_is_not_taken_for_a_whole_answer(engine, model, said):
    """An error chunk or a cut connection in the middle raises instead of ending quietly."""
    with pytest.raises(EngineError, match=said):
        ask(engine, model, collect)


def test_an_engine_that_counts_no_tokens_still_answers(engine):
    """A reply without usage has none, instead of failing or inventing it."""
    messages = [{"role": "user", "content": "x"}]
    reply = ask(engine, "no_usage", lambda instance: engine_methods.chat(instance, messages))
    assert (reply.text, reply.usage) == ("hi", None)


def test_a_refusal_in_plain_words_keeps_them(engine):
    """An error body that is not JSON is passed on with its status."""
    with pytest.raises(EngineRequestError, match="503: plain words"):
        ask(engine, "refuses", lambda instance: engine_methods.generate(instance, "x"))


def test_a_connection_idle_for_long_is_given_no_request(engine):
    """An engine closes idle connections after 5 s; before that, a request gets a new one."""
    connections = []

    async def serve(reader, writer):
        connections.append(writer)
        while await reader.readline():
            await reader.readuntil(b"{}")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async def scenario():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            client = EngineClient(engine, f"http://127.0.0.1:{port}", "any")
            for pause in (0, 4):
                await asyncio.sleep(pause)
                async with client.session.post("/v1/completions", json={}) as answer:
                    assert await answer.json(content_type=None) == {}
            await client.close()

    asyncio.run(scenario())
    assert len(connections) == 2
