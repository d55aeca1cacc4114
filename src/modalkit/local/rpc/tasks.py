"""Containers as `modal container` sees them: Modal calls them tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from grpclib.const import Status

from ..apps.apps import App, Apps
from ..containers.container import Container
from ..protocol import api, refuse
from ..wire.grpc_server import Caller, rpc

__all__ = ["TaskRpcs"]


class TaskRpcs:
    """Running containers, and what is known of ended ones."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps

    @rpc("TaskList")
    async def list_all(self, request: api.TaskListRequest, _caller: Caller) -> api.TaskListResponse:
        """List running containers of an app, or of an environment."""
        response = api.TaskListResponse()
        environment = request.environment_name or "main"
        for app, container in self._running():
            if request.app_id == app.id or not (request.app_id or app.environment != environment):
                response.tasks.add(
                    task_id=container.id,
                    app_id=app.id,
                    app_description=app.label,
                    started_at=container.started_at,
                    enqueued_at=container.started_at,
                )
        return response

    @rpc("TaskGetInfo")
    async def info(
        self, request: api.TaskGetInfoRequest, _caller: Caller
    ) -> api.TaskGetInfoResponse:
        """Describe a container, also one that has ended and printed something."""
        task_id = request.task_id
        for app, container in self._running():
            if container.id == task_id:
                started = container.started_at
                info = api.TaskInfo(id=task_id, started_at=started, enqueued_at=started)
                return api.TaskGetInfoResponse(app_id=app.id, info=info)
        ended_in = self._apps.with_task(task_id)
        if ended_in is None:
            _refuse_unknown(task_id)
        first, last = ended_in.log.span_of(task_id)
        info = api.TaskInfo(id=task_id, started_at=first, enqueued_at=first, finished_at=last)
        return api.TaskGetInfoResponse(app_id=ended_in.id, info=info)

    @rpc("ContainerStop")
    async def stop(
        self, request: api.ContainerStopRequest, _caller: Caller
    ) -> api.ContainerStopResponse:
        """End one container; with ``graceful`` it finishes what it does, else that runs elsewhere."""
        if (container := self._apps.container(request.task_id)) is not None:
            container.pool.retire(container)
            if not request.graceful:
                container.preempt()
        elif self._apps.with_task(request.task_id) is None:
            _refuse_unknown(request.task_id)
        return api.ContainerStopResponse()

    def _running(self) -> Iterator[tuple[App, Container]]:
        for app in self._apps.all():
            for pool in app.pools:
                for container in list(pool.containers):
                    yield app, container


def _refuse_unknown(task_id: str) -> NoReturn:
    refuse(Status.NOT_FOUND, f"There is no container {task_id!r} in this local Modal.")
