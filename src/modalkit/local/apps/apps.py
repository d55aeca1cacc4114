"""Apps: what a client created, who still wants it, and its functions by name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..ids import new_id
from ..protocol import api, fitting
from .logs import AppLog

if TYPE_CHECKING:
    from ..containers.container import Container
    from ..containers.inputs import InputPool
    from ..containers.servers import ServerPool
    from .functions import FunctionEntry, Release

__all__ = ["HEARTBEAT_LIMIT_S", "App", "Apps"]

# The client beats every 15 s; one that missed four beats is gone (`kill -9`, a closed laptop).
HEARTBEAT_LIMIT_S = 60.0
_LONGEST_LOOK_S = 2.0
_KEPT_STOPPED = 100
_STOP_GRACE_S = 5.0
_ONLY_USER = "local"
_EPHEMERAL = {api.APP_STATE_EPHEMERAL, api.APP_STATE_INITIALIZING}
_OVER = {api.APP_STATE_STOPPED, api.APP_STATE_STOPPING}


@dataclass(eq=False)
class App:
    """One app.

    Attributes:
        name: The deployed name; empty for an ephemeral app.
        version: How often it was published; for a deployed app, its place in the history.
        functions: By tag: ``name`` for a function, ``Name.*`` for a class, ``Name`` for a server.
        classes: Class ids by name.
        drafts: Definitions by function id that wait for the app to be published.
        releases: Versions that somebody asked for, by their numbers.
        tags: The user's own, by key.
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
    drafts: dict[str, api.Function] = field(default_factory=dict)
    releases: dict[int, Release] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
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
    def pools(self) -> list[InputPool | ServerPool]:
        """The pools of its functions that were used so far."""
        layouts = [self.functions, *(release.functions for release in self.releases.values())]
        return [pool for layout in layouts for one in layout.values() for pool in one.pools]

    @property
    def busy(self) -> bool:
        """Whether an input or a connection of it is waiting or being worked on."""
        return any(pool.demand for pool in self.pools)

    def silent_for(self, limit_s: float) -> bool:
        """Whether its client has said nothing for that long."""
        return time.monotonic() - self.last_beat > limit_s

    def lifecycle(self) -> api.AppLifecycle:
        """Describe it to the client."""
        return fitting(
            api.AppLifecycle,
            app_state=self.state,
            created_at=self.created_at,
            created_by=_ONLY_USER,
            deployed_at=self.deployed_at,
            deployed_by=_ONLY_USER if self.deployed_at else "",
            version=self.version,
            stopped_at=self.stopped_at,
        )


class Apps:
    """Every app of this plane, and the last hundred that were stopped.

    Args:
        heartbeat_limit_s: After this many seconds without a word its client is gone.

    Attributes:
        forgotten: Told of a stopped app that is no longer kept.
        has_calls: Says whether a call of an app is unfinished.
    """

    def __init__(self, heartbeat_limit_s: float = HEARTBEAT_LIMIT_S) -> None:
        self._apps: dict[str, App] = {}
        self._heartbeat_limit_s = heartbeat_limit_s
        self._ending: set[asyncio.Task[None]] = set()
        self.forgotten: Callable[[App], None] = lambda _app: None
        self.has_calls: Callable[[App], bool] = lambda _app: False

    def add(self, app: App) -> App:
        """Remember a new app."""
        self._apps[app.id] = app
        return app

    def get(self, app_id: str) -> App | None:
        """Return an app by its id."""
        return self._apps.get(app_id)

    def deployed(self, name: str, environment: str) -> App | None:
        """Return the app deployed under a name."""
        named = self._named(name, environment)
        return next((app for app in named if not app.over), None)

    def stopped(self, name: str, environment: str) -> App | None:
        """Return the app of that name that was stopped last."""
        named = [app for app in self._named(name, environment) if app.over]
        return max(named, key=lambda app: app.stopped_at, default=None)

    def in_environment(self, environment: str) -> list[App]:
        """Return an environment's apps, newest first."""
        found = [app for app in self._apps.values() if app.environment == environment]
        return sorted(found, key=lambda app: app.created_at, reverse=True)

    def all(self) -> list[App]:
        """Return every app."""
        return list(self._apps.values())

    def container(self, task_id: str) -> Container | None:
        """Return a function's container that runs."""
        running = (
            container
            for app in self._apps.values()
            for pool in app.pools
            for container in pool.containers
        )
        return next((container for container in running if container.id == task_id), None)

    def with_task(self, task_id: str) -> App | None:
        """Return the app of a container, of an ended one as long as its output is kept."""
        return next((app for app in self._apps.values() if app.log.knows(task_id)), None)

    def detached(self) -> list[App]:
        """Return the apps that go on although their client may have left."""
        states = {api.APP_STATE_DETACHED, api.APP_STATE_DETACHED_DISCONNECTED}
        return [app for app in self._apps.values() if app.state in states]

    async def stop(self, app: App, grace_s: float) -> None:
        """End an app's containers, then its log."""
        if app.over:
            return
        app.state = api.APP_STATE_STOPPING
        await asyncio.gather(*(pool.stop(grace_s) for pool in app.pools))
        for function in app.functions.values():
            await function.close_endpoints()
        app.state, app.stopped_at = api.APP_STATE_STOPPED, time.time()
        app.log.finish()
        self._forget_long_stopped()

    def stop_soon(self, app: App, grace_s: float) -> None:
        """Stop an app without waiting for it; its log ends when it has stopped."""
        task = asyncio.get_running_loop().create_task(self.stop(app, grace_s))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def client_left(self, app: App, grace_s: float) -> None:
        """An app's client is done or gone: a detached app finishes its calls, a deployed one stays."""
        if app.state in _EPHEMERAL:
            self.stop_soon(app, grace_s)
        elif app.state == api.APP_STATE_DETACHED:
            app.state = api.APP_STATE_DETACHED_DISCONNECTED
            self._end_if_done(app)

    async def watch(self) -> None:
        """Notice clients that went away and detached apps that are done, forever."""
        while True:
            await asyncio.sleep(min(self._heartbeat_limit_s / 4, _LONGEST_LOOK_S))
            for app in self.all():
                if app.silent_for(self._heartbeat_limit_s):
                    self.client_left(app, _STOP_GRACE_S)
                self._end_if_done(app)

    def _end_if_done(self, app: App) -> None:
        if app.state != api.APP_STATE_DETACHED_DISCONNECTED:
            return
        if not app.busy and not self.has_calls(app):
            self.stop_soon(app, _STOP_GRACE_S)

    def _named(self, name: str, environment: str) -> list[App]:
        return [
            app
            for app in self._apps.values()
            if app.name == name and app.environment == environment
        ]

    def _forget_long_stopped(self) -> None:
        stopped = [app for app in self._apps.values() if app.state == api.APP_STATE_STOPPED]
        stopped.sort(key=lambda app: app.stopped_at)
        for app in stopped[:-_KEPT_STOPPED]:
            del self._apps[app.id]
            self.forgotten(app)
