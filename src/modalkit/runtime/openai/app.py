"""The ASGI application: routes, key check, and one shape for every error."""

from __future__ import annotations

import logging
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .auth import BearerAuth
from .backend import Backend
from .metrics import Metrics
from .problems import ApiError
from .routes import Routes

__all__ = ["build_app"]

_LOG = logging.getLogger(__name__)


def build_app(backend: Backend, keys: tuple[str, ...]) -> tuple[Starlette, Routes]:
    """The application, and the routes to be told once the model is loaded."""
    metrics = Metrics()
    routes = Routes(backend, metrics)
    app = Starlette(
        routes=routes.table(),
        middleware=[Middleware(_CountAnswers, metrics=metrics), Middleware(BearerAuth, keys=keys)],
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            ClientDisconnect: _client_left,
            Exception: _server_error,
        },
    )
    return app, routes


class _CountAnswers:
    """Counts answers by route and status, refused keys included."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._requests = metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Only known routes are labels; a scanner's paths must not fill the memory.
                route = scope["path"] if "endpoint" in scope else "other"
                model_page = route.startswith("/v1/models/")
                label = "/v1/models/{model}" if model_page else route
                self._requests(label, str(message["status"])).value += 1
            await send(message)

        await self._app(scope, receive, counted)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101  Starlette's handler type is wider
    return JSONResponse(error.body(), error.status, error.headers())


async def _client_left(_: Request, __: Exception) -> Response:
    """Nobody reads this: the request ended before its body did, which is no failure of the server."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  as above
    wrong_method = error.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    what = f"{request.method} {request.url.path}"
    message = f"{what} is not possible here." if wrong_method else f"There is no {what}."
    code = "method_not_allowed" if wrong_method else "not_found"
    known = ApiError(error.status_code, message, code=code)
    return JSONResponse(known.body(), known.status, error.headers)


async def _server_error(_: Request, error: Exception) -> Response:
    _LOG.error("A request failed.", exc_info=error)
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    known = ApiError(status, "The model server failed; its log says why.", code="internal_error")
    return JSONResponse(known.body(), known.status)
