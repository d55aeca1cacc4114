"""The HTTP app of a custom service: its typed routes, their schema and a page to try them."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import JsonValue, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route as HTTPRoute

from .docs_page import docs_page
from .openapi import openapi_schema
from .typed_routes import TypedRoute

__all__ = ["custom_app"]

Call = Callable[..., Awaitable[Any]]
_log = logging.getLogger("modalkit")


def custom_app(
    title: str,
    description: str,
    routes: Sequence[TypedRoute],
    calls: Mapping[str, Call],
    prefix: str,
    *,
    docs: bool,
    asks_key: bool,
) -> Starlette:
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
    typed = [
        HTTPRoute(route.path, _Handler(route, calls[route.name]), methods=["POST"])
        for route in routes
    ]
    schema = openapi_schema(title, description, routes, prefix, asks_key=asks_key)
    about = _about(schema) if docs else []
    app = Starlette(routes=[*typed, HTTPRoute("/health", _health), *about])
    app.router.redirect_slashes = False  # it would point to a place without the prefix
    return app


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _about(schema: dict[str, JsonValue]) -> list[HTTPRoute]:
    """The routes that describe the others."""

    async def openapi(_: Request) -> Response:
        return JSONResponse(schema)

    async def docs(_: Request) -> Response:
        return HTMLResponse(docs_page())

    return [HTTPRoute("/openapi.json", openapi), HTTPRoute("/docs", docs)]


class _Handler:
    """One route: validate the body, call the method, serialise its answer."""

    def __init__(self, route: TypedRoute, call: Call) -> None:
        self._route = route
        self._call = call

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            arguments, keywords = self._arguments(await request.body())
        except ValidationError as error:
            return _unprocessable(error)
        try:
            answer = await self._call(*arguments, **keywords)
            content = self._content(answer)
        except Exception:  # noqa: BLE001 - one bad request must not end the service
            # The caller learns that it failed; why it failed is for the log, not for strangers.
            _log.exception("%s failed", self._route.name)
            detail = f"{self._route.name} failed; the service's log says why."
            return JSONResponse({"detail": detail}, HTTPStatus.INTERNAL_SERVER_ERROR)
        return Response(content, media_type="application/json")

    def _arguments(self, body: bytes) -> tuple[tuple[object, ...], dict[str, object]]:
        if not body and not self._route.needs_body:
            return (), {}
        return self._route.arguments(self._route.request.validate_json(body))

    def _content(self, answer: object) -> bytes:
        """The answer as JSON, held to its declared type: what the schema says is what comes."""
        checked = self._route.answer.validate_python(answer)
        return self._route.answer.dump_json(checked, warnings="error")


def _unprocessable(error: ValidationError) -> Response:
    """A 422 in the shape FastAPI made common: each problem with the place in the body."""
    problems = json.loads(error.json(include_url=False, include_context=False))
    for problem in problems:
        problem["loc"] = ["body", *problem["loc"]]
    return JSONResponse({"detail": problems}, HTTPStatus.UNPROCESSABLE_ENTITY)
