"""Environment RPCs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from grpclib.const import Status

from ..apps.apps import Apps
from ..protocol import Empty, api, builder_version, gives, refuse
from ..store.environments import DEFAULT_ENVIRONMENT, Environments
from ..store.records import Record
from ..wire.grpc_server import Caller, rpc

__all__ = ["EnvironmentRpcs"]


class EnvironmentRpcs:
    """Environments made, listed, renamed and removed.

    Args:
        erase: Ends what runs in an environment and removes its files.
    """

    def __init__(
        self, environments: Environments, apps: Apps, erase: Callable[[str], Awaitable[None]]
    ) -> None:
        self._environments = environments
        self._apps = apps
        self._erase = erase

    @rpc("EnvironmentGetOrCreate")
    async def get_or_create(
        self, request: api.EnvironmentGetOrCreateRequest, _caller: Caller
    ) -> api.EnvironmentGetOrCreateResponse:
        """Look an environment up; make it where that is asked for."""
        name = request.deployment_name
        known = {record.name for record in self._environments.list_all()}
        creating = request.object_creation_type == api.OBJECT_CREATION_TYPE_CREATE_IF_MISSING
        if name and name not in known and creating:
            record = self._environments.create(name)
        else:
            record = self._environments.find(name)
        return api.EnvironmentGetOrCreateResponse(
            environment_id=record.id, metadata=_metadata(record)
        )

    @rpc("EnvironmentCreate")
    async def create(self, request: api.EnvironmentCreateRequest, _caller: Caller) -> Empty:
        """Make an environment; roles mean nothing here."""
        self._environments.create(request.name)
        return Empty()

    @rpc("EnvironmentList")
    async def list_all(self, _request: Empty, _caller: Caller) -> api.EnvironmentListResponse:
        """List the environments."""
        return api.EnvironmentListResponse(
            items=[
                api.EnvironmentListItem(
                    name=record.name,
                    default=record.name == DEFAULT_ENVIRONMENT,
                    environment_id=record.id,
                    created_at=record.created_at,
                )
                for record in self._environments.list_all()
            ]
        )

    @rpc("EnvironmentUpdate")
    async def update(
        self, request: api.EnvironmentUpdateRequest, _caller: Caller
    ) -> api.EnvironmentListItem:
        """Give an environment another name; nothing else of it can be changed here."""
        if gives(request, "web_suffix") or gives(request, "image_builder_version"):
            refuse(
                Status.INVALID_ARGUMENT,
                "The local Modal's endpoints have no web suffix, and its image builder version is "
                f"{builder_version()}; only --set-name works here.",
            )
        name, new = request.current_name, request.name.value
        self._environments.rename(name, new)
        for app in self._apps.in_environment(name):
            app.environment = new
        return api.EnvironmentListItem(name=new)

    @rpc("EnvironmentDelete")
    async def delete(self, request: api.EnvironmentDeleteRequest, _caller: Caller) -> Empty:
        """Remove an environment with everything in it."""
        self._environments.changeable(request.name, "deleted")
        await self._erase(request.name)
        self._environments.delete(request.name)
        return Empty()


def _metadata(record: Record) -> api.EnvironmentMetadata:
    settings = api.EnvironmentSettings(image_builder_version=builder_version())
    return api.EnvironmentMetadata(name=record.name, settings=settings)
