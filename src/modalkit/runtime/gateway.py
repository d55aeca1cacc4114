"""Forward requests to the engine of this container; the door in front has let them in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext, suppress
from http import HTTPStatus
from urllib.parse import quote

import aiohttp
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send
from yarl import URL

from ..errors import EngineError
from .engine_client import EngineClient
from .observe.tracing import Tracing

__all__ = ["HOP_BY_HOP", "Gateway"]

HOP_BY_HOP = frozenset(
    {
        "accept-encoding",  # compressing on loopback only costs time
        "authorization",  # the engine behind the gateway asks for no key
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Gateway:
    """An ASGI app that forwards what the door lets in to the engine of this container.

    A client that disconnects closes its connection to the engine, which ends the generation.

    Args:
        client: Returns the engine's client; asked at each request, inside the event loop.
        tracing: Makes a span of the engine's part. Default: none.
    """

    def __init__(self, client: Callable[[], EngineClient], tracing: Tracing | None = None) -> None:
        self._client = client
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request; the ASGI entry."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        with suppress(ClientDisconnect):  # it left while it was sending; nobody waits for an answer
            await self._until_either_leaves(request, await request.body(), send)

    async def _until_either_leaves(self, request: Request, body: bytes, send: Send) -> None:
        forward = asyncio.ensure_future(self._forward(request, body, send))
        gone = asyncio.ensure_future(_disconnected(request.receive))
        try:
            await asyncio.wait({forward, gone}, return_when=asyncio.FIRST_COMPLETED)
            if forward.done():
                forward.result()
        finally:  # also when the request itself is cancelled, at Modal's timeout
            forward.cancel()
            gone.cancel()
            await asyncio.gather(forward, gone, return_exceptions=True)

    async def _forward(self, request: Request, body: bytes, send: Send) -> None:
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            with self._tracing.span("engine", "CLIENT") if self._tracing else nullcontext():
                async with self._answer(request, body) as answer:
                    await _relay(answer, watched_send)
        except (aiohttp.ClientError, EngineError) as error:
            if started:  # the status is sent: ending short is the only signal left
                raise
            await _unanswered(error)(request.scope, request.receive, send)

    @contextlib.asynccontextmanager
    async def _answer(self, request: Request, body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        # Already encoded, so that what the door let in is what the engine is asked.
        path, query = quote(request.scope["path"]), request.scope["query_string"].decode("latin-1")
        url = URL(f"{path}?{query}" if query else path, encoded=True)
        traced = self._tracing.outgoing() if self._tracing else {}
        left_out = HOP_BY_HOP | traced.keys()
        headers = [pair for pair in request.headers.items() if pair[0] not in left_out]
        headers += traced.items()
        async with self._client().session.request(
            request.method, url, data=body or None, headers=headers, allow_redirects=False
        ) as answer:
            yield answer


async def _relay(answer: aiohttp.ClientResponse, send: Send) -> None:
    headers = [
        (name.lower(), value)
        for name, value in answer.raw_headers
        if name.lower().decode("latin-1") not in HOP_BY_HOP
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    async for piece in answer.content.iter_any():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _unanswered(error: Exception) -> JSONResponse:
    """What the engine's silence is to an OpenAI client."""
    message = f"The engine did not answer: {error}"
    problem = {"message": message, "type": "server_error", "code": None}
    return JSONResponse({"error": problem}, HTTPStatus.BAD_GATEWAY)
