"""The plane's own routes, for `modalkit local status` and `tick` in another process.

    GET  /admin/status   what runs, and what is scheduled
    POST /admin/tick     {"name": ..., "environment": ...}: fire a schedule now

Each wants ``Authorization: Bearer TOKEN`` with the token of the plane's page, and answers JSON; an
error is ``{"error": ...}``.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from aiohttp import web

from ..errors import LocalModalError
from .apps.apps import App, Apps
from .apps.schedules import Schedules
from .protocol import MODAL_VERSION, api

__all__ = ["Admin"]

_PREFIX = "/admin/"


@dataclass(frozen=True, slots=True)
class Admin:
    """What other commands of the same user may ask of a plane.

    Attributes:
        token: What a request must show.
        endpoints: Returns the name and URL of every web endpoint of the deployed apps.
    """

    token: str = field(repr=False)
    apps: Apps
    schedules: Schedules
    endpoints: Callable[[], list[tuple[str, str]]]
    started_at: float = field(default_factory=time.time)

    @staticmethod
    def serves(request: web.BaseRequest) -> bool:
        """Return whether a request is for these routes."""
        return request.path.startswith(_PREFIX)

    async def serve(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        shown = request.headers.get("Authorization", "")
        if not hmac.compare_digest(shown.encode(), f"Bearer {self.token}".encode()):
            return _error(
                401, "This local Modal was not started for you: the token does not match."
            )
        match request.method, request.path.removeprefix(_PREFIX):
            case "GET", "status":
                return web.json_response(self.status())
            case "POST", "tick":
                return await self._tick(request)
        return _error(404, f"There is no {request.method} {request.path} in this local Modal.")

    def status(self) -> dict[str, object]:
        """Describe the plane: plain values, times in seconds since the epoch."""
        return {
            "pid": os.getpid(),
            "modal": MODAL_VERSION,
            "started_at": self.started_at,
            "apps": [_app(app) for app in self.apps.all() if not app.over],
            "endpoints": [{"name": name, "url": url} for name, url in self.endpoints()],
            "schedules": [
                {**asdict(one), "next_at": one.next_at.timestamp()}
                for one in self.schedules.upcoming()
            ],
            "missed": [
                {**asdict(one), "last_at": one.last_at.timestamp()} for one in self.schedules.missed
            ],
        }

    async def _tick(self, request: web.BaseRequest) -> web.Response:
        try:
            asked = await request.json()
            name, environment = str(asked["name"]), str(asked.get("environment") or "main")
        except (ValueError, KeyError, AttributeError, TypeError):
            return _error(400, 'Send {"name": "APP", "environment": "main"}.')
        try:
            call = await self.schedules.tick(name, environment)
        except LocalModalError as error:
            return _error(404, str(error))
        function = call.function
        return web.json_response(
            {"app": function.app.label, "function": function.name, "call": call.id}
        )


def _app(app: App) -> dict[str, object]:
    return {
        "name": app.label,
        "id": app.id,
        "environment": app.environment,
        "state": api.AppState.Name(app.state).removeprefix("APP_STATE_").lower(),
        "version": app.version,
        "containers": sum(len(pool.containers) for pool in app.pools),
        "functions": [function.name for function in app.functions.values()],
    }


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
