"""Deployed apps on disk, with every version, so that the next command and the next plane find them.

Nothing is brought back before somebody asks for it, except at `restore_waking` what must act by
itself: an app with a schedule, a web endpoint or containers that are always kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from grpclib.const import Status

from ..ids import content_id
from ..protocol import api, refuse, serves_http
from ..store.secrets import Secrets
from ..store.state import Record, Records
from .apps import App, Apps
from .functions import FunctionEntry, Functions, Release
from .log_files import LogFile
from .versions import Version

__all__ = ["SCHEDULE", "Deployments", "Layout", "wanted_endpoints"]

_APP, _VERSION, _WAKING = "app", "app version", "waking app"
SCHEDULE = "schedule"  # what `schedules` keeps of an app, under the app's id
_KEPT_VERSIONS = 100

Layout = dict[str, tuple[str, api.Function]]


@dataclass(frozen=True, slots=True)
class Deployments:
    """Saves deployed apps and brings them back when someone asks for them.

    Attributes:
        open_endpoints: Opens the ports that a function needs with a definition.
        logs: Holds the logs of deployed apps.
    """

    records: Records
    apps: Apps
    functions: Functions
    secrets: Secrets
    open_endpoints: Callable[[FunctionEntry, api.Function], Awaitable[None]]
    logs: Path
    _restoring: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def deploy(self, app: App, name: str, version: Version) -> None:
        """Write a version down, then run it: what is not on disk must not take effect."""
        async with self._restoring:
            self.save(app, version)
            app.name, app.tags, app.state = name, version.tags, api.APP_STATE_DEPLOYED
            app.deployed_at, app.version = version.deployed_at, version.number
            await self.install(app, version.functions(), version.classes)
            self.save_app(app)

    async def install(self, app: App, layout: Layout, classes: dict[str, str]) -> None:
        """Give an app these functions; containers of what changed or went finish what they do."""
        for tag in [tag for tag in app.functions if tag not in layout]:
            await self._drop(app.functions.pop(tag))
        app.classes = classes
        for tag, (function_id, definition) in layout.items():
            function = self.functions.get(function_id)
            if function is None:
                function = self.functions.add(app, definition, function_id)
            function.redefine(definition)
            app.functions[tag] = function
            for method in set(function.endpoints) - set(wanted_endpoints(definition)):
                await function.endpoints.pop(method).close()
            await self.open_endpoints(function, definition)
        for function in app.functions.values():
            function.any_pool.adjust()

    def save(self, app: App, version: Version) -> None:
        """Write a version down, with the anonymous secrets its functions use."""
        for _function_id, definition in version.functions().values():
            for secret_id in definition.secret_ids:
                self.secrets.keep(secret_id)
        name = f"v{version.number}"
        self.records.put(_VERSION, app.id, name, f"{app.id}/{name}", version.to_bytes())
        for old in self._version_records(app)[:-_KEPT_VERSIONS]:
            self.records.delete(old.id)

    def save_app(self, app: App) -> None:
        """Write down that an app is deployed under its name, and which of its versions runs."""
        body = {"version": app.version, "created_at": app.created_at, "tags": app.tags}
        self.records.put(_APP, app.environment, app.name, app.id, json.dumps(body).encode())
        app.log.keep_in(LogFile(self.logs / app.id))
        if any(map(_acts_by_itself, app.functions.values())):
            self.records.put(_WAKING, "", app.id, f"waking {app.id}", b"")
        else:
            self.records.delete(f"waking {app.id}")

    def forget(self, app: App) -> None:
        """Remove an app that was stopped: its name is free again."""
        self.records.delete(app.id)
        self.records.delete(f"waking {app.id}")
        for kind in (_VERSION, SCHEDULE):
            for record in self.records.list_all(kind, app.id):
                self.records.delete(record.id)
        app.log.remove()

    def versions(self, app: App) -> list[Version]:
        """Return what is left of an app's history, oldest first."""
        return [Version.from_bytes(record.body) for record in self._version_records(app)]

    def version(self, app: App, number: int) -> Version:
        """Return one version, or refuse the request; -1 is the one before the current one."""
        records = {int(record.name[1:]): record for record in self._version_records(app)}
        if number < 0:
            number = max((known for known in records if known < app.version), default=0)
        if number not in records:
            kept = ", ".join(f"v{known}" for known in sorted(records)) or "none"
            refuse(
                Status.NOT_FOUND, f"App {app.label!r} has no version v{number}; kept are: {kept}."
            )
        return Version.from_bytes(records[number].body)

    def release(self, app: App, number: int) -> Release:
        """Return a version for a caller who wants it whatever is deployed later, or refuse.

        Its functions have containers of their own, and none that are kept without calls.
        """
        if number not in app.releases:
            version = self.version(app, number)
            release = app.releases[number] = Release({}, version.classes)
            for tag, (function_id, definition) in version.functions().items():
                definition.warm_pool_size = 0
                definition.autoscaler_settings.ClearField("min_containers")
                pinned_id = content_id("fu", f"{function_id}@v{number}".encode())
                function = self.functions.add(app, definition, pinned_id)
                function.release = release
                release.functions[tag] = function
        return app.releases[number]

    def layout(self, app: App) -> Layout:
        """Return what an app consists of, whether this plane has brought it back or not."""
        dormant = self.apps.get(app.id) is None
        if dormant and app.version:
            name = f"v{app.version}"
            record = self.records.by_name(_VERSION, app.id, name)  # not all of its history
            return Version.from_bytes(record.body).functions() if record else {}
        return {tag: (one.id, one.definition) for tag, one in app.functions.items()}

    def next_number(self, app: App) -> int:
        """Return the number of an app's next version."""
        return max([app.version, *(int(old.name[1:]) for old in self._version_records(app))]) + 1

    async def find(self, name: str, environment: str) -> App | None:
        """Return the app deployed under a name, in this plane or by an earlier one."""
        async with self._restoring:
            app = self.apps.deployed(name, environment)
            record = None if app else self.records.by_name(_APP, environment, name)
            return app if record is None else await self._restore(record)

    async def find_by_id(self, app_id: str) -> App | None:
        """Return an app by its id: one of this plane, or one deployed earlier."""
        app = self.apps.get(app_id)
        if app is not None:
            return app
        record = self.records.by_id(app_id)
        if record is None or record.kind != _APP:
            return None
        return await self.find(record.name, record.environment)

    def dormant(self, environment: str) -> list[App]:
        """Describe an environment's deployed apps that this plane has not brought back."""
        found = self.records.list_all(_APP, environment)
        return [_app(record) for record in found if self.apps.get(record.id) is None]

    async def restore_waking(self) -> None:
        """Bring back what acts by itself, in every environment."""
        for pointer in self.records.list_all(_WAKING, ""):
            await self.find_by_id(pointer.name)

    async def _restore(self, record: Record) -> App:
        app = self.apps.add(_app(record))
        app.log.keep_in(LogFile(self.logs / app.id))
        if app.version:
            version = self.version(app, app.version)
            app.deployed_at = version.deployed_at
            await self.install(app, version.functions(), version.classes)
        return app

    def _version_records(self, app: App) -> list[Record]:
        found = self.records.list_all(_VERSION, app.id)
        return sorted(found, key=lambda record: int(record.name[1:]))

    @staticmethod
    async def _drop(function: FunctionEntry) -> None:
        for pool in function.pools:
            pool.retire_all()
        await function.close_endpoints()


def _app(record: Record) -> App:
    body = json.loads(record.body)
    return App(
        description=record.name,
        environment=record.environment,
        state=api.APP_STATE_DEPLOYED,
        name=record.name,
        id=record.id,
        created_at=body["created_at"],
        version=body["version"],
        tags=body["tags"],
    )


def _acts_by_itself(function: FunctionEntry) -> bool:
    definition = function.definition
    return bool(
        wanted_endpoints(definition)
        or definition.schedule.WhichOneof("schedule_oneof")
        or definition.autoscaler_settings.min_containers
        or definition.warm_pool_size
    )


def wanted_endpoints(definition: api.Function) -> list[str]:
    """Return the methods of a definition that answer web requests; a function is ``""``."""
    wanted = [""] if serves_http(definition) or definition.webhook_config.type else []
    methods = definition.method_definitions.items()
    return wanted + [name for name, method in methods if method.webhook_config.type]
