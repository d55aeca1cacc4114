"""Apps: what a client created, who still wants it, and its functions by name."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .ids import new_id
from .logs import AppLog
from .protocol import api

if TYPE_CHECKING:
    from .functions import FunctionEntry

__all__ = ["App", "Apps"]

# The client beats every 15 s; one that missed four beats is gone (`kill -9`, a closed laptop).
_HEARTBEAT_LIMIT_S = 60.0
_EPHEMERAL = {api.APP_STATE_EPHEMERAL, api.APP_STATE_INITIALIZING}
_OVER = {api.APP_STATE_STOPPED, api.APP_STATE_STOPPING}


@dataclass(eq=False)
class App:
    """One app.

    Attributes:
        name: The deployed name; empty for an ephemeral app.
        functions: By tag: ``name`` for a function, ``Name.*`` for a class, ``Name`` for a server.
        classes: Class ids by name.
    """

    description: str
    environment: str
    state: api.AppState.ValueType
    name: str = ""
    id: str = field(default_factory=lambda: new_id("ap"))
    created_at: float = field(default_factory=time.time)
    deployed_at: float = 0.0
    stopped_at: float = 0.0
    version: int = 0
    functions: dict[str, FunctionEntry] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    log: AppLog = field(default_factory=AppLog)
    last_beat: float = field(default_factory=time.monotonic)

    @property
    def label(self) -> str:
        """What to call it in a message."""
        return self.name or self.description or self.id

    @property
    def over(self) -> bool:
        """Whether it was stopped."""
        return self.state in _OVER

    @property
    def abandoned(self) -> bool:
        """Whether its client went away without saying so."""
        silent = time.monotonic() - self.last_beat > _HEARTBEAT_LIMIT_S
        return self.state in _EPHEMERAL and silent

    def lifecycle(self) -> api.AppLifecycle:
        """Describe it to the client."""
        return api.AppLifecycle(
            app_state=self.state,
            created_at=self.created_at,
            deployed_at=self.deployed_at,
            version=self.version,
            stopped_at=self.stopped_at,
        )


class Apps:
    """Every app of this plane."""

    def __init__(self) -> None:
        self._apps: dict[str, App] = {}

    def add(self, app: App) -> App:
        """Remember a new app."""
        self._apps[app.id] = app
        return app

    def get(self, app_id: str) -> App | None:
        """Return an app by its id."""
        return self._apps.get(app_id)

    def deployed(self, name: str, environment: str) -> App | None:
        """Return the app deployed under a name."""
        for app in self._apps.values():
            if app.name == name and app.environment == environment and not app.over:
                return app
        return None

    def in_environment(self, environment: str) -> list[App]:
        """Return an environment's apps, newest first."""
        found = [app for app in self._apps.values() if app.environment == environment]
        return sorted(found, key=lambda app: app.created_at, reverse=True)

    def all(self) -> list[App]:
        """Return every app."""
        return list(self._apps.values())

    async def stop(self, app: App, grace_s: float) -> None:
        """End an app's containers, then its log."""
        if app.over:
            return
        app.state = api.APP_STATE_STOPPING
        pools = [pool for function in app.functions.values() for pool in function.pools]
        await asyncio.gather(*(pool.stop(grace_s) for pool in pools))
        for function in app.functions.values():
            await function.close_endpoints()
        app.state, app.stopped_at = api.APP_STATE_STOPPED, time.time()
        app.log.finish()

    async def stop_abandoned(self) -> None:
        """Watch for clients that went away, forever."""
        while True:
            await asyncio.sleep(_HEARTBEAT_LIMIT_S / 4)
            for app in self.all():
                if app.abandoned:
                    await self.stop(app, grace_s=5.0)
