"""App* RPCs: an app from its creation to its end."""

from __future__ import annotations

import time
from collections.abc import Callable

from grpclib.const import Status

from ..apps.apps import App, Apps
from ..apps.deployments import Deployments, Layout
from ..apps.functions import app_layout
from ..protocol import Empty, api, fitting, refuse
from ..wire.grpc_server import Caller, rpc

__all__ = ["AppRpcs"]

_STOP_GRACE_S = 30.0


class AppRpcs:
    """Apps from creation to their end.

    Args:
        page: Returns where the client says an app can be viewed.
    """

    def __init__(self, apps: Apps, deployments: Deployments, page: Callable[[], str]) -> None:
        self._apps = apps
        self._deployments = deployments
        self._page = page

    @rpc("AppCreate")
    async def create(self, request: api.AppCreateRequest, _caller: Caller) -> api.AppCreateResponse:
        """Make an app; its functions follow one by one."""
        app = self._apps.add(
            App(
                description=request.description,
                environment=request.environment_name or "main",
                state=request.app_state,
                tags=dict(request.tags),
            )
        )
        return api.AppCreateResponse(
            app_id=app.id, app_page_url=self._page(), app_logs_url=self._page()
        )

    @rpc("AppGetOrCreate")
    async def get_or_create(
        self, request: api.AppGetOrCreateRequest, _caller: Caller
    ) -> api.AppGetOrCreateResponse:
        """Look an app up by name for `App.lookup`."""
        environment = request.environment_name or "main"
        app = await self._deployments.find(request.app_name, environment)
        create = request.object_creation_type == api.OBJECT_CREATION_TYPE_CREATE_IF_MISSING
        if app is None and not create:
            refuse(Status.NOT_FOUND, f"There is no deployed app {request.app_name!r} here.")
        if app is None:
            app = self._apps.add(App(request.app_name, environment, api.APP_STATE_DEPLOYED))
            app.name = request.app_name
            self._deployments.save_app(app)
        handle = _handle(app, self._deployments.layout(app))
        return fitting(api.AppGetOrCreateResponse, app_id=app.id, handle_metadata=handle)

    @rpc("AppGetByDeploymentName")
    async def by_name(
        self, request: api.AppGetByDeploymentNameRequest, _caller: Caller
    ) -> api.AppGetByDeploymentNameResponse:
        """Find a deployed app; an empty id says there is none, and which one was stopped last."""
        environment = request.environment_name or "main"
        response = api.AppGetByDeploymentNameResponse(environment_name=environment)
        if app := await self._deployments.find(request.name, environment):
            response.app_id = app.id
        elif app := self._apps.stopped(request.name, environment):
            response.previous_app_id = app.id
        if app is not None:
            response.lifecycle.CopyFrom(app.lifecycle())
        return response

    @rpc("AppGetLayout")
    async def layout(
        self, request: api.AppGetLayoutRequest, _caller: Caller
    ) -> api.AppGetLayoutResponse:
        """List an app's functions and classes."""
        return api.AppGetLayoutResponse(app_layout=app_layout(await self._find(request.app_id)))

    @rpc("AppGetInfo")
    async def info(self, request: api.AppGetInfoRequest, _caller: Caller) -> api.AppGetInfoResponse:
        """Describe an app and its functions for `modal app info`."""
        app = await self._find(request.app_id)
        handle = _handle(app, self._deployments.layout(app))
        response = fitting(api.AppGetInfoResponse, info=handle)
        for function in app.functions.values():
            definition = function.definition
            summary = response.function_info_summaries[function.id]
            summary.schedule.CopyFrom(definition.schedule)
            summary.web_function = bool(function.endpoints)
            if definition.resources.gpu_config.count:
                summary.gpu_config.append(definition.resources.gpu_config)
        return response

    @rpc("AppHeartbeat")
    async def heartbeat(self, request: api.AppHeartbeatRequest, _caller: Caller) -> Empty:
        """The app's client is alive."""
        (await self._find(request.app_id)).last_beat = time.monotonic()
        return Empty()

    @rpc("AppClientDisconnect")
    async def disconnect(self, request: api.AppClientDisconnectRequest, _caller: Caller) -> Empty:
        """The app's client is done: an ephemeral app ends, a detached one finishes its calls."""
        self._apps.client_left(await self._find(request.app_id), _STOP_GRACE_S)
        return Empty()

    @rpc("AppStop")
    async def stop(self, request: api.AppStopRequest, _caller: Caller) -> Empty:
        """End an app for good."""
        app = await self._find(request.app_id)
        self._deployments.forget(app)
        await self._apps.stop(app, _STOP_GRACE_S)
        return Empty()

    @rpc("AppList")
    async def list_all(self, request: api.AppListRequest, _caller: Caller) -> api.AppListResponse:
        """List an environment's apps."""
        response = api.AppListResponse()
        environment = request.environment_name or "main"
        known = self._apps.in_environment(environment)
        for app in [*known, *self._deployments.dormant(environment)]:
            item = fitting(
                api.AppListResponse.AppListItem,
                app_id=app.id,
                name=app.name,
                description=app.name or app.description,
                state=app.state,
                created_at=app.created_at,
                stopped_at=app.stopped_at,
                n_running_tasks=sum(len(pool.containers) for pool in app.pools),
                metadata=_handle(app, self._deployments.layout(app)),
            )
            response.apps.append(item)
        return response

    @rpc("AppGetLifecycle")
    async def lifecycle(
        self, request: api.AppGetLifecycleRequest, _caller: Caller
    ) -> api.AppGetLifecycleResponse:
        """Return an app's state."""
        lifecycle = (await self._find(request.app_id)).lifecycle()
        return api.AppGetLifecycleResponse(lifecycle=lifecycle)

    @rpc("AppGetTags")
    async def tags(self, request: api.AppGetTagsRequest, _caller: Caller) -> api.AppGetTagsResponse:
        """Return an app's tags."""
        return api.AppGetTagsResponse(tags=(await self._find(request.app_id)).tags)

    @rpc("AppSetTags")
    async def set_tags(self, request: api.AppSetTagsRequest, _caller: Caller) -> Empty:
        """Replace an app's tags."""
        app = await self._find(request.app_id)
        app.tags = dict(request.tags)
        if app.state == api.APP_STATE_DEPLOYED:
            self._deployments.save_app(app)
        return Empty()

    async def _find(self, app_id: str) -> App:
        app = await self._deployments.find_by_id(app_id)
        if app is None:
            refuse(Status.NOT_FOUND, f"There is no app {app_id!r} in this local Modal.")
        return app


def _handle(app: App, layout: Layout) -> dict[str, object]:
    """Describe an app as the client keeps it: the fields of an AppHandleMetadata."""
    names: dict[bool, dict[str, str]] = {False: {}, True: {}}
    for tag, (function_id, definition) in layout.items():
        names[definition.is_server][tag.removesuffix(".*")] = function_id
    return {
        "description": app.label,
        "app_id": app.id,
        "environment_name": app.environment,
        "lifecycle": app.lifecycle(),
        "functions": names[False],
        "servers": names[True],
    }
