"""The HTTP app of a custom service: its typed routes, their schema and a page to try them.

A request's way is short on purpose: a look into a table of paths, one validator, the method, one
serialiser. Nothing general stands in between.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from pydantic import JsonValue
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import RequestError
from .answers import Answers, problem, respond
from .deadlines import pieces_within, within
from .departures import CallerLeftError, Departures
from .docs_page import docs_page
from .openapi import openapi_schema
from .request_bodies import Bodies, UnfitError
from .streams import StreamAnswer, stream_over_websocket
from .typed_routes import TypedRoute

__all__ = ["custom_app"]

Call = Callable[..., Any]
_log = logging.getLogger("modalkit")
_DEADLINE = b"x-deadline-ms"
_LONGEST_MS = 1e9  # days; more is more than a timer takes


def custom_app(
    title: str,
    description: str,
    routes: Sequence[TypedRoute],
    calls: Mapping[str, Call],
    prefix: str,
    *,
    docs: bool,
    asks_key: bool,
) -> ASGIApp:
    """Build the app of one service.

    Args:
        title: The service's name.
        description: Its docstring.
        routes: Its typed routes.
        calls: What answers each of them, by method name.
        prefix: The path the app is served below, ``""`` for none.
        docs: Serve ``/docs`` and ``/openapi.json`` too.
        asks_key: Whether requests need a Bearer key, for the schema; what checks it is in front.
    """
    departures = Departures()
    posts = {route.path: _Handler(route, calls[route.name], departures) for route in routes}
    pages = {"/health": (b'{"status":"ok"}', b"application/json")}
    schema: dict[str, JsonValue] = openapi_schema(
        title, description, routes, prefix, asks_key=asks_key
    )
    if docs:
        pages["/openapi.json"] = json.dumps(schema).encode(), b"application/json"
        pages["/docs"] = docs_page().encode(), b"text/html; charset=utf-8"
    return _Table(posts, pages)


class _Table:
    """The paths of one service."""

    def __init__(
        self, posts: Mapping[str, _Handler], pages: Mapping[str, tuple[bytes, bytes]]
    ) -> None:
        self._posts = posts
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            msg = f"An app of typed routes serves HTTP, not {scope['type']!r}."
            raise NotImplementedError(msg)  # a server that offers its lifespan goes on without
        path = scope["path"]
        handler = self._posts.get(path)
        if scope["type"] == "websocket":
            await _websocket(handler, scope, receive, send)
        elif handler is not None and scope["method"] == "POST":
            await handler(scope, receive, send)
        elif path in self._pages and scope["method"] in {"GET", "HEAD"}:
            body, media_type = self._pages[path]
            await respond(send, 200, body, media_type)
        elif handler is not None or path in self._pages:
            allowed = b"POST" if handler is not None else b"GET, HEAD"
            told = problem(f"{path} takes {allowed.decode()}.", HTTPStatus.METHOD_NOT_ALLOWED)
            await respond(send, **told, headers=((b"allow", allowed),))
        else:
            await respond(send, **problem("Not Found", HTTPStatus.NOT_FOUND))


async def _websocket(handler: _Handler | None, scope: Scope, receive: Receive, send: Send) -> None:
    if handler is None or not handler.streams:
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": "not a stream"})
        return
    await handler.over_websocket(scope, receive, send)


class _Handler:
    """One route: validate the body, call the method, serialise its answer."""

    def __init__(self, route: TypedRoute, call: Call, departures: Departures) -> None:
        self.streams = route.streams
        self._name = route.name
        self._call = call
        self._bodies = Bodies(route)
        self._answers = Answers(route)
        self._departures = departures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content_type, accept, deadline = _asked(scope["headers"])
        body = await _whole(receive)
        if body is None:
            return  # it left before it had said everything
        try:
            if content_type == b"application/json" or not content_type:
                arguments, keywords = self._bodies.arguments(body)
            else:
                arguments, keywords = await self._bodies.read(content_type, body)
        except UnfitError as error:
            await respond(send, HTTPStatus.UNPROCESSABLE_ENTITY, _unprocessable(error))
            return
        with suppress(CallerLeftError):
            if self.streams:
                pieces = self._pieces(arguments, keywords, deadline)
                sending = StreamAnswer(self._name, self._answers, accept).send(pieces, send)
                await self._departures.unless_left(receive, sending, at_once=True)
            else:
                called = self._call(*arguments, **keywords)
                await self._answer(called, accept, deadline, receive, send)

    async def over_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request over a WebSocket."""
        _, _, deadline = _asked(scope["headers"])
        typed = self._bodies, self._answers

        def call(*arguments: object, **keywords: object) -> AsyncIterator[Any]:
            return self._pieces(arguments, keywords, deadline)

        await stream_over_websocket(self._name, typed, call, receive, send)

    async def _answer(
        self,
        called: Awaitable[Any],
        accept: bytes,
        deadline: float | None,
        receive: Receive,
        send: Send,
    ) -> None:
        if deadline is not None:
            called = within(self._name, called, deadline)
        try:
            answer = await self._departures.unless_left(receive, called)
            content, media_type = self._answers.encode_for(accept, answer)
        except (CallerLeftError, asyncio.CancelledError):
            raise
        except RequestError as error:
            await respond(send, **problem(error))
        except Exception:  # noqa: BLE001 - one bad request must not end the service
            # The caller learns that it failed; why it failed is for the log, not for strangers.
            _log.exception("%s failed", self._name)
            await respond(send, **problem(f"{self._name} failed; the service's log says why."))
        else:
            await respond(send, HTTPStatus.OK, content, media_type)

    def _pieces(
        self, arguments: tuple[object, ...], keywords: dict[str, object], deadline: float | None
    ) -> AsyncIterator[Any]:
        pieces: AsyncIterator[Any] = self._call(*arguments, **keywords)
        return pieces if deadline is None else pieces_within(self._name, pieces, deadline)


def _asked(headers: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, bytes, float | None]:
    """Content type, what is accepted, and the deadline in milliseconds."""
    content_type = accept = b""
    deadline: float | None = None
    for name, value in headers:
        if name == b"content-type":
            content_type = value
        elif name == b"accept":
            accept = value
        elif name == _DEADLINE:
            deadline = _milliseconds(value)
    return content_type, accept, deadline


def _milliseconds(value: bytes) -> float | None:
    """A deadline; None for what is no number."""
    with suppress(ValueError):
        given = float(value)
        return None if math.isnan(given) else min(max(given, 0.0), _LONGEST_MS)
    return None


async def _whole(receive: Receive) -> bytes | None:
    """The body of a request; None where its sender has left."""
    message = await receive()
    if message["type"] != "http.request":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    parts = [body]
    while message.get("more_body", False):
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
    return b"".join(parts)


def _unprocessable(error: UnfitError) -> bytes:
    """A 422 in the shape FastAPI made common: each problem with the place in the body."""
    for problem_ in error.problems:
        problem_["loc"] = ["body", *problem_["loc"]]
    return json.dumps({"detail": error.problems}).encode()
