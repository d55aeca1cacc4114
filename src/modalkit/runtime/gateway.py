"""The HTTP door of a service with an engine: known routes pass, everything else stays closed.

Engines open administration routes (sleep, weight updates, LoRA loading) on the port that serves
the API, some of them without a key. Only the routes below reach the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from http import HTTPStatus

import aiohttp
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import EngineError
from .engine_client import EngineClient

__all__ = ["PUBLIC_ROUTES", "Gateway"]

# What SGLang 0.5.23 and vLLM 0.33.0 serve for clients (the documentation of both); the
# administration routes that share the prefix, such as /v1/load_lora_adapter, are not among them.
PUBLIC_ROUTES = frozenset(
    {
        "/health",
        "/tokenize",
        "/detokenize",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/chat/completions",
        "/v1/classify",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/models",
        "/v1/rerank",
        "/v1/responses",
        "/v1/score",
    }
)

_HOP_BY_HOP = frozenset(
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
    """An ASGI app that forwards public routes to the engine of this container.

    A client that disconnects closes its connection to the engine, which ends the generation.

    Args:
        client: Returns the engine's client; asked at each request, inside the event loop.
    """

    def __init__(self, client: Callable[[], EngineClient]) -> None:
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request; the ASGI entry."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        if not _is_public(scope["path"]):
            await _problem(404, f"There is no {request.method} {scope['path']} here.")(
                scope, receive, send
            )
            return
        body = await request.body()
        forward = asyncio.ensure_future(self._forward(request, body, send))
        gone = asyncio.ensure_future(_disconnected(receive))
        done, _ = await asyncio.wait({forward, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in {forward, gone} - done:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if forward in done:
            forward.result()

    async def _forward(self, request: Request, body: bytes, send: Send) -> None:
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with self._answer(request, body) as answer:
                await _relay(answer, watched_send)
        except (aiohttp.ClientError, EngineError) as error:
            if started:  # the status is sent: ending short is the only signal left
                raise
            await _problem(502, f"The engine did not answer: {error}")(
                request.scope, request.receive, send
            )

    @contextlib.asynccontextmanager
    async def _answer(self, request: Request, body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        query = request.url.query
        path = request.scope["path"] + (f"?{query}" if query else "")
        headers = [pair for pair in request.headers.items() if pair[0] not in _HOP_BY_HOP]
        async with self._client().session.request(
            request.method, path, data=body or None, headers=headers, allow_redirects=False
        ) as answer:
            yield answer


def _is_public(path: str) -> bool:
    return path in PUBLIC_ROUTES or path.startswith("/v1/models/")


async def _relay(answer: aiohttp.ClientResponse, send: Send) -> None:
    headers = [
        (name.lower(), value)
        for name, value in answer.raw_headers
        if name.lower().decode("latin-1") not in _HOP_BY_HOP
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    async for piece in answer.content.iter_any():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _problem(status: int, message: str) -> Response | ASGIApp:
    blame_us = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = "server_error" if blame_us else "invalid_request_error"
    return JSONResponse({"error": {"message": message, "type": kind, "code": None}}, status)
