"""Ask an ASGI app of this process, as a server would."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Scope

__all__ = ["InnerAnswer", "ask_app"]

# What would change the form of an answer that is read here.
_LEFT_OUT = frozenset({b"accept", b"accept-encoding", b"content-length", b"content-type"})


class InnerAnswer(NamedTuple):
    """What the app answered."""

    status: int
    body: bytes


async def ask_app(
    app: ASGIApp, scope: Scope, method: str, path: str, body: bytes = b""
) -> InnerAnswer:
    """Send a request to an app and wait for the whole answer.

    Args:
        app: The app.
        scope: A request that it is to take this one for: its address, its credentials.
        method: The HTTP method.
        path: The route.
        body: JSON, or nothing.

    Raises:
        Exception: Whatever the app raised.
    """
    status, pieces, sent = 0, [], asyncio.Event()
    headers = [pair for pair in scope["headers"] if pair[0] not in _LEFT_OUT]
    if body:
        length = str(len(body)).encode()
        headers += [(b"content-type", b"application/json"), (b"content-length", length)]

    async def receive() -> Message:
        if sent.is_set():  # nobody leaves before the answer: an app that waits for it is cancelled
            await asyncio.get_running_loop().create_future()
        sent.set()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            pieces.append(message.get("body", b""))

    raw = {"path": path, "raw_path": path.encode(), "query_string": b""}
    await app({**scope, **raw, "method": method, "headers": headers}, receive, send)
    return InnerAnswer(status or HTTPStatus.INTERNAL_SERVER_ERROR, b"".join(pieces))
