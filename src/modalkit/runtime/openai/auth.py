"""Bearer keys in front of every route that is not for probes."""

from __future__ import annotations

import hmac
import os
from hashlib import sha256

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import DeclarationError
from .problems import wrong_key

__all__ = ["BearerAuth", "keys_from_environment"]

_OPEN_PATHS = frozenset({"/health", "/metrics"})


def keys_from_environment(variable: str | None) -> tuple[str, ...]:
    """The keys in an environment variable, separated by commas or line ends.

    Several keys let an old and a new one work side by side while a key is rotated.
    No variable named means no key is asked for. A named one that holds no key is an error:
    it would open to everybody a server that was meant to be closed.
    """
    if variable is None:
        return ()
    keys = tuple(os.environ.get(variable, "").replace(",", "\n").split())
    if not keys:
        msg = (
            f"The environment variable {variable!r} should hold the API key but is empty or unset. "
            "Set it, or leave out --api-key-env to serve without a key."
        )
        raise DeclarationError(msg)
    return keys


class BearerAuth:
    """ASGI middleware: 401 unless the request carries one of the keys.

    ``/health`` and ``/metrics`` stay open, so that probes need no secret; ``open_paths`` names
    others that do.
    """

    def __init__(
        self, app: ASGIApp, keys: tuple[str, ...], open_paths: frozenset[str] = _OPEN_PATHS
    ) -> None:
        self._app = app
        self._open_paths = open_paths
        self._digests = tuple(sha256(key.encode()).digest() for key in keys)

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
        return scope["type"] == "http" and scope["path"] in self._open_paths

    def _admits(self, scope: Scope) -> bool:
        if not self._digests:
            return True
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, key = sent.partition(b" ")
        digest = sha256(key.strip()).digest()
        # Digests have one length, and every key is compared: time tells nothing about a key.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return scheme.lower() == b"bearer" and any(matches)
