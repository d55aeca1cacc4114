"""Decide about a request: its path, its key, its rate and its size, in this order."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...declare.endpoints import Endpoint
from ...declare.exposure import Exposure
from ..keys import KeyRing
from ..openai.problems import ApiError, wrong_key
from .rates import Rates
from .routes import is_client_route
from .visit import PROBES, SOCKET_FAILED, Visit, VisitObserver

__all__ = ["Door", "InnerKeys"]


_REFUSED, _TOO_BIG = 1008, 1009  # a WebSocket's codes for what it may not do, and for its length


@dataclass(frozen=True, repr=False)
class InnerKeys:
    """Keys that never leave a container.

    Attributes:
        engine: What the engine asks of everyone; the door puts it on requests that it lets in.
        admin: What modalkit's own requests carry; they pass the door to every route.
    """

    engine: str
    admin: str


class Door:
    """ASGI middleware: lets in whom and what an endpoint declares, and answers everything else.

    Args:
        app: What stands behind.
        endpoint: The declared rules.
        keys: Keys of clients; ``None`` asks for none.
        routes: Paths of an engine that are for clients; ``None`` for an app that has no others.
        inner: Keys between this container's processes, where the app is an engine that asks.
        pages: What answers in the app's place, by path.
        observers: Who is told of each request, but for probes.
    """

    def __init__(
        self,
        app: ASGIApp,
        endpoint: Endpoint,
        keys: KeyRing | None,
        routes: AbstractSet[str] | None = None,
        inner: InnerKeys | None = None,
        *,
        pages: Mapping[str, ASGIApp] | None = None,
        observers: Sequence[VisitObserver] = (),
    ) -> None:
        self._app = app
        self._pages = dict(pages or {})
        self._observers = tuple(observers)
        self._rules = endpoint
        self._keys = keys
        self._routes = routes
        self._inner = inner
        self._inner_digests = _digests(inner)
        self._prefix = endpoint.path.rstrip("/")
        self._rates = Rates(per_minute) if (per_minute := endpoint.rate_limit_per_minute) else None
        self._limit = endpoint.max_body_mib * 1024 * 1024
        # In an engine's process tokens go straight to its server; elsewhere a gateway hands on each anyway.
        self._counts = inner is None and bool(observers or endpoint.access_log != "off")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it; the ASGI entry."""
        if scope["type"] == "http":
            await self._visit(Visit(scope), scope, receive, send)
        elif scope["type"] != "websocket":
            await self._app(scope, receive, send)
        elif self._routes is None:
            await self._visit(Visit(scope), scope, receive, send)
        else:  # an engine's administration may be behind one
            await send({"type": "websocket.close", "code": _REFUSED, "reason": "HTTP only"})

    async def _visit(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_ours(visit):
            await self._app(self._as_ours(visit, scope["path"]), receive, send)
            return
        watched = visit.watching(send, counting=self._counts)
        visit.path = scope["path"].removeprefix(self._prefix) or "/"
        observers = () if visit.path in PROBES else self._observers
        for observer in observers:
            observer.arrived(visit)
        try:
            path = self._inner_path(scope["path"])
            self._admit(visit, path)
            await self._go_on(visit, path, receive, watched)
        except ApiError as error:
            await _refuse(error, scope, receive, watched)
        except (ClientDisconnect, OSError):  # it left: there is no answer
            raise
        except Exception:
            if visit.is_socket and visit.started and not visit.status:
                await _end_socket(watched)  # a server would let it break off without a word
            failed = SOCKET_FAILED if visit.is_socket else HTTPStatus.INTERNAL_SERVER_ERROR
            visit.status = (
                visit.status or failed
            )  # the server says so in the app's place, past the door
            raise
        finally:
            visit.end()
            for observer in observers:
                observer.left(visit)
            if self._rules.access_log != "off":
                visit.write(self._rules.access_log)

    async def _go_on(self, visit: Visit, path: str, receive: Receive, send: Send) -> None:
        onward = visit.onward(path, self._inner.engine if self._inner else None)
        app = self._app if visit.is_socket else self._pages.get(path, self._app)
        reading = visit.reading(receive, self._limit, self._rules.access_log)
        if reading is receive:
            await app(onward, receive, send)
            return
        try:
            await app(onward, reading, _unless_too_large(visit, send))
        except Exception:
            if not visit.too_large:  # else that is what it makes of a body that ends early
                raise
        if visit.too_large and (visit.is_socket or not visit.started):
            raise _too_large(self._rules.max_body_mib)

    # ── modalkit's own requests, from inside the container ─────────────────────────────────────

    def _is_ours(self, visit: Visit) -> bool:
        if not self._inner_digests:
            return False
        sent = sha256(_bearer(visit.credentials[0])).digest()
        matches = [hmac.compare_digest(sent, known) for known in self._inner_digests]
        return any(matches)

    def _as_ours(self, visit: Visit, path: str) -> Scope:
        """An engine asks another key of its administration than of the rest."""
        assert self._inner is not None  # noqa: S101 - else no request is ours
        if _bearer(visit.credentials[0]) == self._inner.engine.encode():  # the engine, to itself
            return visit.onward(path, self._inner.engine)
        client = self._exposure(path) != "closed" or path == "/metrics"
        return visit.onward(path, self._inner.engine if client else self._inner.admin)

    # ── everybody else's ───────────────────────────────────────────────────────────────────────

    def _inner_path(self, path: str) -> str:
        inner = path.removeprefix(self._prefix) if self._prefix else path
        if self._prefix and (path == inner or (inner and not inner.startswith("/"))):
            message = (
                f"There is nothing at {path!r}; this endpoint is served below {self._prefix!r}."
            )
            raise ApiError(HTTPStatus.NOT_FOUND, message, code="not_found")
        return inner or "/"

    def _admit(self, visit: Visit, path: str) -> None:
        """Let a request pass.

        Raises:
            ApiError: Why it may not.
        """
        exposure = self._exposure(path)
        if self._keys is not None:
            visit.key = self._keys.fingerprint(*visit.credentials)
            if visit.key is None and exposure != "open":
                raise wrong_key()
        if exposure == "closed":
            raise ApiError(HTTPStatus.NOT_FOUND, f"There is no {path!r} here.", code="not_found")
        if visit.length is not None and visit.length > self._limit:
            raise _too_large(self._rules.max_body_mib)
        # Whoever watches a service asks every few seconds, and must not be told that it is down.
        if self._rates is not None and visit.key is not None and path not in PROBES:
            wait_s = self._rates.wait_s(visit.key)
            if wait_s:
                raise _too_often(self._rules, wait_s)

    def _exposure(self, path: str) -> Exposure:
        if path == "/health":
            return self._rules.health
        if path == "/metrics":
            return self._rules.metrics
        if self._routes is None:
            # The documentation page says nothing by itself: it asks the visitor for the key and
            # fetches the schema with it.
            return "open" if path == "/docs" else "key"
        return "key" if is_client_route(path, self._routes) else "closed"


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with what is wrong; a WebSocket is closed, where it can be before it opens."""
    if scope["type"] == "websocket":
        too_big = error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        code = _TOO_BIG if too_big else _REFUSED
        await send({"type": "websocket.close", "code": code, "reason": error.message})
        return
    answer = JSONResponse(error.body(), error.status, error.headers())
    await answer(scope, receive, send)


async def _end_socket(send: Send) -> None:
    """Close a WebSocket whose app has failed, unless nobody is there any more."""
    with suppress(OSError, RuntimeError):
        await send(
            {"type": "websocket.close", "code": SOCKET_FAILED, "reason": "the service failed"}
        )


def _digests(inner: InnerKeys | None) -> tuple[bytes, ...]:
    keys = (inner.engine, inner.admin) if inner else ()
    return tuple(sha256(key.encode()).digest() for key in keys)


def _bearer(authorization: bytes) -> bytes:
    return authorization.removeprefix(b"Bearer ")


def _unless_too_large(visit: Visit, send: Send) -> Send:
    """``send`` that keeps back what an app says of a request that was cut off: a 413 follows.

    Once a piece of an answer is on its way it is ``send`` itself, as in `Visit.watching`.
    """

    def unless(message: Message) -> Awaitable[None]:
        if visit.too_large and not visit.started:
            return _nothing()
        if message["type"] == "http.response.body":
            sending.__setstate__((send, (), {}, None))  # type: ignore[attr-defined]  # every partial has it, its stub does not
        return send(message)

    sending = partial(unless)
    return sending


async def _nothing() -> None:
    """Send a message nowhere."""


def _too_large(max_body_mib: int) -> ApiError:
    message = (
        f"The request's body is larger than this endpoint takes, {max_body_mib} MiB. "
        "Send less, or raise Endpoint(max_body_mib=...)."
    )
    return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, code="request_too_large")


def _too_often(rules: Endpoint, wait_s: int) -> ApiError:
    message = (
        f"This key may make {rules.rate_limit_per_minute} requests a minute. "
        f"Try again in {wait_s} s."
    )
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS, message, code="rate_limit_exceeded", retry_after_s=wait_s
    )
