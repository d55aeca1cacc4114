"""App*, Task* and environment RPCs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from grpclib.const import Status

from ..apps import App, Apps
from ..deployments import Deployments
from ..functions import FunctionEntry, app_layout
from ..protocol import Empty, api, refuse
from ..server import Caller, rpc, stream_rpc

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
        self._ending: set[asyncio.Task[None]] = set()

    @rpc("AppCreate")
    async def create(self, request: api.AppCreateRequest, _caller: Caller) -> api.AppCreateResponse:
        """Make an app; its functions follow one by one."""
        app = self._apps.add(
            App(
                description=request.description,
                environment=request.environment_name or "main",
                state=request.app_state,
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
        if (
            app is None
            and request.object_creation_type != api.OBJECT_CREATION_TYPE_CREATE_IF_MISSING
        ):
            refuse(Status.NOT_FOUND, f"There is no deployed app {request.app_name!r} here.")
        if app is None:
            app = self._apps.add(App(request.app_name, environment, api.APP_STATE_DEPLOYED))
            app.name = request.app_name
        handle = api.AppHandleMetadata(app_id=app.id, environment_name=app.environment)
        return api.AppGetOrCreateResponse(app_id=app.id, handle_metadata=handle)

    @rpc("AppGetByDeploymentName")
    async def by_name(
        self, request: api.AppGetByDeploymentNameRequest, _caller: Caller
    ) -> api.AppGetByDeploymentNameResponse:
        """Find a deployed app; an empty id says there is none."""
        environment = request.environment_name or "main"
        app = await self._deployments.find(request.name, environment)
        if app is None:
            return api.AppGetByDeploymentNameResponse(environment_name=environment)
        return api.AppGetByDeploymentNameResponse(
            app_id=app.id, environment_name=environment, lifecycle=app.lifecycle()
        )

    @rpc("AppGetLayout")
    async def layout(
        self, request: api.AppGetLayoutRequest, _caller: Caller
    ) -> api.AppGetLayoutResponse:
        """List an app's functions and classes."""
        return api.AppGetLayoutResponse(app_layout=app_layout(self._find(request.app_id)))

    @rpc("AppPublish")
    async def publish(
        self, request: api.AppPublishRequest, _caller: Caller
    ) -> api.AppPublishResponse:
        """Make an app's functions callable; what is no longer in it ends."""
        app = self._find(request.app_id)
        kept = dict(request.function_ids)
        for tag in [tag for tag in app.functions if tag not in kept]:
            await self._drop(app.functions.pop(tag))
        app.classes = dict(request.class_ids)
        if request.app_state != api.APP_STATE_UNSPECIFIED:
            app.state = request.app_state
        app.deployed_at = time.time()
        app.version += 1
        if request.app_state == api.APP_STATE_DEPLOYED:
            app.name = request.name or app.name
            self._deployments.save(app)
        for function in app.functions.values():
            function.any_pool.adjust()
        return api.AppPublishResponse(url=self._page(), deployed_at=app.deployed_at)

    @rpc("AppHeartbeat")
    async def heartbeat(self, request: api.AppHeartbeatRequest, _caller: Caller) -> Empty:
        """The app's client is alive."""
        self._find(request.app_id).last_beat = time.monotonic()
        return Empty()

    @rpc("AppClientDisconnect")
    async def disconnect(self, request: api.AppClientDisconnectRequest, _caller: Caller) -> Empty:
        """The app's client is done: an ephemeral app ends, a detached one goes on."""
        app = self._find(request.app_id)
        if app.state not in {api.APP_STATE_DETACHED, api.APP_STATE_DEPLOYED}:
            self._end(app)
        return Empty()

    @rpc("AppStop")
    async def stop(self, request: api.AppStopRequest, _caller: Caller) -> Empty:
        """End an app for good."""
        app = self._find(request.app_id)
        self._deployments.forget(app)
        await self._apps.stop(app, _STOP_GRACE_S)
        return Empty()

    @stream_rpc("AppGetLogs")
    async def logs(
        self, request: api.AppGetLogsRequest, _caller: Caller
    ) -> AsyncGenerator[api.TaskLogsBatch, None]:
        """Follow what an app's containers print."""
        app = self._find(request.app_id)
        async with aclosing(app.log.follow(request.last_entry_id, request.timeout)) as batches:
            async for batch in batches:
                if _matches(batch, request):
                    yield batch

    @rpc("AppFetchLogs")
    async def fetch_logs(
        self, request: api.AppFetchLogsRequest, _caller: Caller
    ) -> api.AppFetchLogsResponse:
        """Return the newest part of an app's log."""
        app = self._find(request.app_id)
        return api.AppFetchLogsResponse(batches=app.log.tail(request.limit or 100))

    @rpc("AppList")
    async def list_all(self, request: api.AppListRequest, _caller: Caller) -> api.AppListResponse:
        """List an environment's apps."""
        response = api.AppListResponse()
        await self._deployments.restore_all(request.environment_name or "main")
        for app in self._apps.in_environment(request.environment_name or "main"):
            pools = [pool for function in app.functions.values() for pool in function.pools]
            response.apps.add(
                app_id=app.id,
                name=app.name,
                description=app.name or app.description,
                state=app.state,
                created_at=app.created_at,
                stopped_at=app.stopped_at,
                n_running_tasks=sum(len(pool.containers) for pool in pools),
            )
        return response

    @rpc("AppGetLifecycle")
    async def lifecycle(
        self, request: api.AppGetLifecycleRequest, _caller: Caller
    ) -> api.AppGetLifecycleResponse:
        """Return an app's state."""
        return api.AppGetLifecycleResponse(lifecycle=self._find(request.app_id).lifecycle())

    @rpc("TaskList")
    async def tasks(self, request: api.TaskListRequest, _caller: Caller) -> api.TaskListResponse:
        """List running containers."""
        response = api.TaskListResponse()
        for app in self._apps.in_environment(request.environment_name or "main"):
            if request.app_id and app.id != request.app_id:
                continue
            for function in app.functions.values():
                for pool in function.pools:
                    for container in pool.containers:
                        response.tasks.add(
                            task_id=container.id,
                            app_id=app.id,
                            app_description=app.label,
                            started_at=container.started_at,
                            enqueued_at=container.started_at,
                        )
        return response

    @rpc("ContainerStop")
    async def stop_container(self, request: api.ContainerStopRequest, _caller: Caller) -> Empty:
        """End one container; with ``graceful`` it finishes what it does."""
        for app in self._apps.all():
            for function in app.functions.values():
                for pool in function.pools:
                    for container in pool.containers:
                        if container.id == request.task_id:
                            pool.retire(container)
                            if not request.graceful:
                                container.kill()
        return Empty()

    def _find(self, app_id: str) -> App:
        app = self._apps.get(app_id)
        if app is None:
            refuse(Status.NOT_FOUND, f"There is no app {app_id!r} in this local Modal.")
        return app

    def _end(self, app: App) -> None:
        """Stop an app without keeping its client waiting; its log ends when it has stopped."""
        task = asyncio.get_running_loop().create_task(self._apps.stop(app, _STOP_GRACE_S))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    @staticmethod
    async def _drop(function: FunctionEntry) -> None:
        for pool in function.pools:
            pool.retire_all()
        await function.close_endpoints()


def _matches(batch: api.TaskLogsBatch, request: api.AppGetLogsRequest) -> bool:
    if batch.app_done:
        return True
    if request.function_id and batch.function_id != request.function_id:
        return False
    return not request.task_id or batch.task_id == request.task_id
