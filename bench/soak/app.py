"""What the soak calls: one of everything, each with an answer that can be checked."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import modal

# Another value makes another definition, so that every redeploy replaces every container.
VERSION = modal.Secret.from_dict({"SOAK_VERSION": os.environ.get("SOAK_VERSION", "0")})
SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""

app = modal.App("soak", secrets=[VERSION])
volume = modal.Volume.from_name("soak", create_if_missing=True)


@app.function(scaledown_window=8, max_containers=3)
def square(number: int) -> int:
    time.sleep(0.002)
    return number * number


@app.function(scaledown_window=8, max_containers=2)
def slow(number: int) -> int:
    time.sleep(0.5)
    return 2 * number


@app.function(scaledown_window=8, max_containers=2)
def count(limit: int) -> Iterator[int]:
    for number in range(limit):
        time.sleep(0.005)
        yield number


@app.function(scaledown_window=8, max_containers=2)
def total(numbers: list[int]) -> int:
    """Call another function from a container."""
    return sum(square.map(numbers))


@app.function(max_containers=1)
def refuse(word: str) -> None:
    msg = f"refused: {word}"
    raise ValueError(msg)


@app.cls(scaledown_window=8, max_containers=1)
class Adder:
    """A parametrised class: every start has a container of its own."""

    start: int = modal.parameter()

    @modal.enter()
    def prepare(self) -> None:
        """Take the parameter up."""
        self.ready = self.start

    @modal.method()
    def add(self, number: int) -> int:
        """Return the sum of the parameter and a number."""
        return self.ready + number


@app.function(scaledown_window=8, max_containers=1, volumes={"/data": volume})
def write(name: str, text: str) -> None:
    Path("/data", name).write_text(text)
    volume.commit()


@app.function(scaledown_window=8, max_containers=1, volumes={"/data": volume})
def read(name: str) -> str:
    volume.reload()
    return Path("/data", name).read_text()


@app.function(scaledown_window=8, max_containers=2)
@modal.concurrent(max_inputs=8)
@modal.asgi_app()
def asgi():
    async def answer(scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for half in (body[: len(body) // 2], body[len(body) // 2 :]):
            await send({"type": "http.response.body", "body": half, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return answer


@app.server(port=8000, routing_region="us-east", unauthenticated=True, min_containers=1)
class Echo:
    """Answers with the path it was asked for; its program is a child of the container's."""

    @modal.enter()
    def start(self) -> None:
        """Start the program."""
        subprocess.Popen([sys.executable, "-c", SERVER])


@app.local_entrypoint()
def linger() -> None:
    """Call until somebody kills this client."""
    while True:
        assert list(square.map(range(200))) == [number * number for number in range(200)]
        time.sleep(0.5)
