"""The key that a server of modalkit's own asks for, where it stands alone."""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ..keys import KeyRing
from .problems import wrong_key

__all__ = ["BearerAuth"]

_OPEN_PATHS = frozenset({"/health", "/metrics"})


class BearerAuth:
    """ASGI middleware: 401 unless the request carries one of the keys.

    ``/health`` and ``/metrics`` stay open, so that probes need no secret.
    """

    def __init__(self, app: ASGIApp, keys: tuple[str, ...]) -> None:
        self._app = app
        self._ring = KeyRing.of(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] == "lifespan" or self._is_open(scope) or self._admits(scope):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "wrong key"})
            return
        error = wrong_key()
        response = JSONResponse(error.body(), error.status, error.headers())
        await response(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        return scope["type"] == "http" and scope["path"] in _OPEN_PATHS

    def _admits(self, scope: Scope) -> bool:
        if not self._ring.digests:
            return True
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return self._ring.fingerprint(sent) is not None
