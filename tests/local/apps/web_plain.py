"""A bare ASGI app, so that a test sees exactly what passes the gateway, and servers."""

import asyncio
import hashlib
import json
import subprocess
import sys
import urllib.parse
from inspect import signature

import modal

app = modal.App("web_plain")
noted: list[str] = []
gates: dict[str, asyncio.Event] = {}
MIB = bytes(1024 * 1024)


async def answer(send, body, status=200, headers=()):
    headers = [(b"content-type", b"application/json"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def begin(send, **headers: str):
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": pairs})


async def pieces(receive):
    while True:
        message = await receive()
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def seen(scope, query, receive, send):
    body = b"".join([piece async for piece in pieces(receive)])
    pairs = [[name.decode(), value.decode()] for name, value in scope["headers"]]
    cookies = [(b"set-cookie", b"a=1; Path=/"), (b"set-cookie", b"b=2; HttpOnly")]
    shown = {
        "method": scope["method"],
        "path": scope["path"],
        "raw_path": scope["raw_path"].decode(),
        "query": scope["query_string"].decode(),
        "headers": pairs,
        "body": body.decode("latin-1"),
        "state": scope["state"].get("made", ""),
    }
    await answer(send, shown, headers=cookies)


async def digest(scope, query, receive, send):
    count, found = 0, hashlib.sha256()
    async for piece in pieces(receive):
        count += len(piece)
        found.update(piece)
    await answer(send, {"count": count, "sha256": found.hexdigest()})


async def large(scope, query, receive, send):
    await begin(send)
    for number in range(int(query["mib"])):
        noted[:] = [f"made {number + 1}"]
        await send({"type": "http.response.body", "body": MIB, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def events(scope, query, receive, send):
    """Make each event only when the client says it has the one before."""
    gate = gates[query["key"]] = asyncio.Event()
    await begin(send, content_type="text/event-stream")
    for number in range(3):
        body = f"data: {number}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await gate.wait()
        gate.clear()
    await send({"type": "http.response.body", "body": b""})


async def go(scope, query, receive, send):
    gates[query["key"]].set()
    await answer(send, "gone on")


async def listening(scope, query, receive, send):
    """Wait for the client to leave."""
    await receive()
    message = await receive()
    noted.append(f"{query['key']} {message['type']}")


async def deaf(scope, query, receive, send):
    """Never look whether the client is still there."""
    noted.append(f"{query['key']} began")
    try:
        await asyncio.sleep(3600)
    finally:
        noted.append(f"{query['key']} cancelled")


async def crash(scope, query, receive, send):
    await begin(send)
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    await asyncio.sleep(0.1)
    msg = "broken halfway"
    raise RuntimeError(msg)


async def wrong_length(scope, query, receive, send):
    await begin(send, content_length="3")
    await send({"type": "http.response.body", "body": b"longer"})


async def split_header(scope, query, receive, send):
    await begin(send, x_bad="one\r\nx-two: 2")
    await send({"type": "http.response.body", "body": b""})


async def elsewhere(scope, query, receive, send):
    await answer(send, "", status=307, headers=[(b"location", b"/seen")])


async def nothing(scope, query, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def early(scope, query, receive, send):
    await answer(send, "enough", status=413)


async def late(scope, query, receive, send):
    await receive()
    await asyncio.sleep(float(query["s"]))
    await answer(send, {"slept": query["s"], "calls": noted.count("late")})


async def notes(scope, query, receive, send):
    await answer(send, noted)


ROUTES = {
    function.__name__: function
    for function in (
        *(seen, digest, large, events, go, listening, deaf, crash, wrong_length, split_header),
        *(elsewhere, nothing, early, late, notes),
    )
}


async def lifespan(scope, receive, send):
    await receive()
    scope["state"]["made"] = "at startup"
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("the lifespan ended")
    await send({"type": "lifespan.shutdown.complete"})


async def socket(scope, receive, send):
    await receive()
    if scope["path"] == "/refused":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[-1]})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "leave":
            await send({"type": "websocket.close", "code": 4001, "reason": "as asked"})
            return
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": message["text"][::-1]})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"][::-1]})
    noted.append(f"{scope['path']} {message['code']}")


async def serve(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "websocket":
        await socket(scope, receive, send)
    else:
        query = dict(urllib.parse.parse_qsl(scope["query_string"].decode()))
        route = ROUTES.get(scope["path"].strip("/").split("/")[0], seen)
        await route(scope, query, receive, send)


@app.function(max_containers=1)
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def plain():
    return serve


@app.function()
@modal.asgi_app(label="my-own-label", custom_domains=["api.example.com"])
def labelled():
    return serve


SERVER = """
import http.server, os, signal, sys, time, urllib.parse
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        query = dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))
        if "empty" in query:
            self.close_connection = True
            return
        if "events" in query:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(int(query["events"])):
                self.wfile.write(b"2\\r\\n%d\\n\\r\\n" % number)
                time.sleep(float(query.get("s", "0")))
            self.wfile.write(b"0\\r\\n\\r\\n")
            return
        time.sleep(float(query.get("s", "0")))
        body = (os.environ["MODAL_TASK_ID"] + " VERSION").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
    do_HEAD = do_GET
    def do_POST(self):
        left, total = int(self.headers["Content-Length"]), 0
        while total < left:
            total += len(self.rfile.read(min(65536, left - total)))
        body = str(total).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()
"""


def start(port: int, version: str = "one") -> None:
    program = SERVER.replace("PORT", str(port)).replace("VERSION", version)
    subprocess.Popen([sys.executable, "-c", program])


# Before 1.6 a server had no maximum of its own.
at_most = {"max_concurrency": 2} if "max_concurrency" in signature(app.server).parameters else {}


@app.server(port=8000, unauthenticated=True, min_containers=1, max_containers=1, **at_most)
class Narrow:
    @modal.enter()
    def start(self) -> None:
        start(8000)


@app.server(port=8000, unauthenticated=True, min_containers=2, max_containers=2)
class Two:
    @modal.enter()
    def start(self) -> None:
        start(8000)


@app.server(port=8000, unauthenticated=True, target_concurrency=1, max_containers=3)
class Growing:
    @modal.enter()
    def start(self) -> None:
        start(8000)


@app.server(port=8000, min_containers=1)
class Guarded:
    @modal.enter()
    def start(self) -> None:
        start(8000)
