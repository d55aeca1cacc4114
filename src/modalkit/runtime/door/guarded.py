"""An endpoint's declared rules in front of any ASGI app."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from ...declare.endpoints import Endpoint
from ..keys import KeyRing
from ..observe.watch import Watch
from .door import Door, InnerKeys

__all__ = ["guarded"]


def guarded(
    app: ASGIApp,
    endpoint: Endpoint,
    routes: AbstractSet[str] | None = None,
    *,
    keys: KeyRing | None = None,
    inner: InnerKeys | None = None,
    watch: Watch | None = None,
) -> ASGIApp:
    """Put an endpoint's declared access rules in front of an app.

    From the outside in: CORS (a preflight carries no key), then the door.

    Args:
        app: What stands behind.
        endpoint: The rules.
        routes: Paths of an engine that are for clients; ``None`` for an app that has no others.
        keys: Keys of clients. Default: those in the variable that the endpoint names.
        inner: Keys between this container's processes.
        watch: What the service tells of itself. Default: nothing, and the app answers ``/health``.

    Raises:
        DeclarationError: The variable that should hold the keys is empty in this container.
    """
    if keys is None and endpoint.keys is not None:
        keys = KeyRing.from_environment(endpoint.keys.variable)
    pages, observers = watch.in_front_of(app, routes) if watch else ({}, ())
    door: ASGIApp = Door(app, endpoint, keys, routes, inner, pages=pages, observers=observers)
    if endpoint.cors is not None:
        door = CORSMiddleware(door, **endpoint.cors.to_starlette())
    return door
