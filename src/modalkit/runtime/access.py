"""Who may call an endpoint: path prefix, CORS and keys around any ASGI app."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ..endpoints import Endpoint
from .openai.auth import BearerAuth, keys_from_environment

__all__ = ["guarded"]


# A probe needs no secret. The documentation page says nothing by itself: it asks the visitor for
# the key and fetches the schema with it.
_OPEN_TO_VISITORS = frozenset({"/health", "/docs"})


def guarded(app: ASGIApp, endpoint: Endpoint) -> ASGIApp:
    """Put an endpoint's declared access rules in front of an app.

    From the outside in: CORS (a preflight carries no key), the path prefix, the key.

    Raises:
        DeclarationError: The variable that should hold the key is empty in this container.
    """
    if endpoint.api_key is not None:
        keys = keys_from_environment(endpoint.api_key.variable)
        app = BearerAuth(app, keys, _OPEN_TO_VISITORS)
    if endpoint.path != "/":
        app = _Prefix(app, endpoint.path.rstrip("/"))
    if endpoint.cors is not None:
        app = CORSMiddleware(app, **endpoint.cors.to_starlette())
    return app


class _Prefix:
    """ASGI middleware: serve an app below a path, and nothing elsewhere."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        inner = path.removeprefix(self._prefix)
        if path == inner or (inner and not inner.startswith("/")):
            await _not_found(path, self._prefix)(scope, receive, send)
            return
        below = {**scope, "path": inner or "/", "raw_path": (inner or "/").encode()}
        await self._app(below, receive, send)


def _not_found(path: str, prefix: str) -> ASGIApp:
    message = f"There is nothing at {path!r}; this endpoint is served below {prefix!r}."
    body = {"error": {"message": message, "type": "invalid_request_error", "code": "not_found"}}
    return JSONResponse(body, 404)
