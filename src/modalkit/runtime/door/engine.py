"""The door inside an engine's process, where requests reach the engine's port directly."""

from __future__ import annotations

import os

from starlette.types import ASGIApp, Receive, Scope, Send

from ..observe.watch import Watch
from .guarded import guarded
from .settings import DOOR_VARIABLE, DoorSettings

__all__ = ["EngineDoor", "with_door_from_environment"]


class EngineDoor:
    """ASGI middleware that takes its rules from the environment: ``vllm serve --middleware``.

    Args:
        app: The engine's own.
        told: The rules. Default: those of the environment.

    Raises:
        EngineError: The environment has none; the engine must not start without.
    """

    def __init__(self, app: ASGIApp, told: DoorSettings | None = None) -> None:
        told = told or DoorSettings.of_this_process()
        watch = Watch(told.service, told.endpoint, engine_requests=told.requests)
        self._door = guarded(
            app, told.endpoint, told.routes, keys=told.keys, inner=told.inner, watch=watch
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on to the door; the ASGI entry."""
        await self._door(scope, receive, send)


def with_door_from_environment(app: ASGIApp) -> ASGIApp:
    """Put the door in front where this process was told to; else return the app itself."""
    return EngineDoor(app) if DOOR_VARIABLE in os.environ else app
