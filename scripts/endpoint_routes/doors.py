"""Every kind of endpoint before one vLLM: what ``--middleware`` loads in its process while it is asked.

A request says by a header which endpoint it comes to; one that says none comes to the endpoint that the
process was started for.
"""

from __future__ import annotations

from typing import Any

from modalkit import BearerKeys, Endpoint, ProxyAuth
from modalkit.runtime.door import EngineDoor, guarded
from modalkit.runtime.door.settings import DoorSettings

__all__ = ["MODE_HEADER", "Doors", "rules"]

MODE_HEADER = "x-endpoint-mode"
_WAYS = {"tokens": [ProxyAuth()], "keys": [BearerKeys()], "both": [ProxyAuth(), BearerKeys()]}


def rules(mode: str) -> Endpoint:
    """What an endpoint of this mode declares."""
    return Endpoint(auth=_WAYS.get(mode), public=mode == "public", access_log="off")


class Doors:
    """ASGI middleware: the doors of all modes side by side, each before the same app."""

    def __init__(self, app: Any) -> None:
        told = DoorSettings.of_this_process()
        self._started_for = EngineDoor(app)
        self._by_mode = {}
        for mode in (*_WAYS, "public"):
            declared = rules(mode)
            keys = told.keys if declared.keys else None
            door = guarded(app, declared, told.routes, keys=keys, inner=told.inner)
            self._by_mode[mode.encode()] = door

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request to the door of its mode; the ASGI entry."""
        mode = dict(scope.get("headers", ())).get(MODE_HEADER.encode())
        await self._by_mode.get(mode, self._started_for)(scope, receive, send)
