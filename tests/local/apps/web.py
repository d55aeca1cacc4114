"""Web endpoints of every kind."""

import asyncio
import socket
import subprocess
import sys
import time

import modal

app = modal.App("web")
closed: set[str] = set()

SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = (os.environ["MODAL_TASK_ID"] + " " + self.path).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""


@app.function()
@modal.fastapi_endpoint(docs=True)
def double(number: int) -> dict[str, int]:
    return {"double": 2 * number}


@app.function(max_containers=1)
@modal.concurrent(max_inputs=20)
@modal.asgi_app()
def asgi():
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import StreamingResponse

    web = FastAPI()

    @web.post("/echo")
    async def echo(request: Request) -> Response:
        body = await request.body()
        kind = request.headers.get("content-type", "")
        return Response(
            body, media_type=kind, headers={"x-one": "1", "x-query": str(request.url.query)}
        )

    @web.get("/count/{limit}")
    async def count(limit: int) -> StreamingResponse:
        async def numbers():
            for number in range(limit):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.05)

        return StreamingResponse(numbers(), media_type="text/event-stream")

    @web.get("/endless")
    async def endless(key: str) -> StreamingResponse:
        async def numbers():
            try:
                while True:
                    yield "data: more\n\n"
                    await asyncio.sleep(0.05)
            finally:
                closed.add(key)

        return StreamingResponse(numbers(), media_type="text/event-stream")

    @web.get("/closed")
    async def were_closed() -> list[str]:
        return sorted(closed)

    @web.get("/broken")
    async def broken() -> None:
        msg = "broken on purpose"
        raise RuntimeError(msg)

    return web


@app.function()
@modal.asgi_app()
def sockets():
    async def talk(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            if message.get("text") == "bye":
                await send({"type": "websocket.close", "code": 4000})
                return
            await send({"type": "websocket.send", "text": (message.get("text") or "")[::-1]})

    return talk


@app.function()
@modal.wsgi_app()
def wsgi():
    def answer(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}".encode()]

    return answer


@app.function()
@modal.web_server(8000)
def served() -> None:
    subprocess.Popen([sys.executable, "-c", SERVER])


@app.function()
@modal.fastapi_endpoint(requires_proxy_auth=True)
def locked() -> str:
    return "inside"


def _start_server() -> None:
    subprocess.Popen([sys.executable, "-c", SERVER])
    while True:
        try:
            socket.create_connection(("127.0.0.1", 8000)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return


@app.server(port=8000, routing_region="us-east", unauthenticated=True, min_containers=2)
class Replicated:
    @modal.enter()
    def start(self) -> None:
        _start_server()


@app.server(port=8000, routing_region="us-east", unauthenticated=True)
class Cold:
    @modal.enter()
    def start(self) -> None:
        _start_server()


@app.server(port=8000, routing_region="us-east")
class Locked:
    @modal.enter()
    def start(self) -> None:
        _start_server()


@app.cls()
class Shop:
    name: str = modal.parameter(default="corner")
    floor: int = modal.parameter(default=0)

    @modal.fastapi_endpoint()
    def sign(self) -> dict[str, str]:
        return {"sign": f"{self.name} {self.floor}"}
