"""Deployed apps on disk, so that the next command (and the next plane) finds them again."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .apps import App, Apps
from .functions import FunctionEntry, Functions
from .protocol import api
from .rpc.secrets import Secrets
from .state import Record, Records

__all__ = ["Deployments"]

_APP, _FUNCTION = "app", "function"


@dataclass(frozen=True, slots=True)
class Deployments:
    """Saves deployed apps and brings them back when someone asks for them.

    Attributes:
        open_endpoints: Opens the ports of a function's web endpoints.
    """

    records: Records
    apps: Apps
    functions: Functions
    secrets: Secrets
    open_endpoints: Callable[[FunctionEntry], Awaitable[None]]

    def save(self, app: App) -> None:
        """Write a deployed app down, with the anonymous secrets its functions use."""
        for function in app.functions.values():
            self.records.put(
                _FUNCTION, "", function.id, function.id, function.definition.SerializeToString()
            )
            for secret_id in function.definition.secret_ids:
                self.secrets.keep(secret_id)
        body = {
            "functions": {tag: function.id for tag, function in app.functions.items()},
            "classes": app.classes,
            "version": app.version,
            "deployed_at": app.deployed_at,
        }
        self.records.put(_APP, app.environment, app.name, app.id, json.dumps(body).encode())

    def forget(self, app: App) -> None:
        """Remove an app that was stopped."""
        self.records.delete(app.id)
        for function in app.functions.values():
            self.records.delete(function.id)

    async def find(self, name: str, environment: str) -> App | None:
        """Return the app deployed under a name, in this plane or by an earlier one."""
        app = self.apps.deployed(name, environment)
        if app is not None:
            return app
        record = self.records.by_name(_APP, environment, name)
        return None if record is None else await self._restore(record)

    async def restore_all(self, environment: str) -> None:
        """Bring back every deployed app of an environment."""
        for record in self.records.list_all(_APP, environment):
            await self.find(record.name, environment)

    async def _restore(self, record: Record) -> App:
        body = json.loads(record.body)
        app = App(
            description=record.name,
            environment=record.environment,
            state=api.APP_STATE_DEPLOYED,
            name=record.name,
            id=record.id,
            created_at=record.created_at,
            deployed_at=body["deployed_at"],
            version=body["version"],
            classes=body["classes"],
        )
        for tag, function_id in body["functions"].items():
            stored = self.records.by_id(function_id)
            if stored is not None:
                definition = api.Function.FromString(stored.body)
                app.functions[tag] = self.functions.add(app, definition, function_id)
        self.apps.add(app)
        for function in app.functions.values():
            await self.open_endpoints(function)
            function.any_pool.adjust()
        return app
