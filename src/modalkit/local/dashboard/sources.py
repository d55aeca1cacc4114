"""What the dashboard reads: parts of the plane, none of which knows of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..apps.apps import App, Apps
from ..apps.deployments import Deployments
from ..apps.functions import FunctionEntry
from ..apps.schedules import Schedules
from ..calls.calls import Calls
from ..containers.container import Container
from ..images import Images
from ..protocol import api
from ..store.environments import Environments
from ..store.records import Record, Records
from ..volumes import Volumes
from ..wire.proxy_auth import ProxyAuth

__all__ = ["Sources", "state_of"]


@dataclass(frozen=True, slots=True)
class Sources:
    """The plane's parts that the dashboard shows.

    Attributes:
        state: The state folder.
        started_at: Seconds since the epoch.
    """

    state: Path
    apps: Apps
    calls: Calls
    deployments: Deployments
    environments: Environments
    records: Records
    schedules: Schedules
    volumes: Volumes
    images: Images
    proxy_auth: ProxyAuth = field(repr=False)
    started_at: float = field(default_factory=time.time)

    def all_apps(self) -> list[App]:
        """Return every app, running ones first, then the newest; those asleep on disk included."""
        asleep = [
            app
            for environment in self.environments.list_all()
            for app in self.deployments.dormant(environment.name)
        ]
        known = [*self.apps.all(), *asleep]
        return sorted(known, key=lambda app: (app.over, -max(app.created_at, app.deployed_at)))

    def app(self, app_id: str) -> App | None:
        """Return an app by its id."""
        return next((app for app in self.all_apps() if app.id == app_id), None)

    def containers(self) -> list[Container]:
        """Return every live container, the newest first."""
        found = [
            container
            for app in self.apps.all()
            for pool in app.pools
            for container in pool.containers
        ]
        return sorted(found, key=lambda container: container.started_at, reverse=True)

    def used_images(self) -> set[str]:
        """Return the images of every function, those of versions to roll back to included."""
        apps = self.all_apps()
        kept = {
            definition.image_id
            for app in apps
            if app.name
            for version in self.deployments.versions(app)
            for _function_id, definition in version.functions().values()
        }
        live = (function for app in apps for function in app.functions.values())
        return kept | {function.definition.image_id for function in live}

    def endpoints(self) -> Iterator[tuple[FunctionEntry, str, str]]:
        """Yield every open web endpoint: its function, its method's name, its URL."""
        for app in self.apps.all():
            if app.over:
                continue
            for function in app.functions.values():
                for method, endpoint in function.endpoints.items():
                    yield function, method, endpoint.url

    def named(self, kind: str) -> list[Record]:
        """Return every named object of a kind, of all environments."""
        return [
            record
            for environment in self.environments.list_all()
            for record in self.records.list_all(kind, environment.name)
        ]


def state_of(app: App) -> str:
    """Return an app's state in a word."""
    name: str = api.AppState.Name(app.state)
    return name.removeprefix("APP_STATE_").lower()
