"""Reading what apps printed, and builds of images: following, fetching and counting."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]  # protobuf ships no type information
from grpclib.const import Status

from ..apps.apps import Apps
from ..apps.deployments import Deployments
from ..apps.logs import AppLog, LogFilter
from ..images import Images
from ..protocol import api, refuse, text_of
from ..wire.grpc_server import Caller, rpc, stream_rpc

__all__ = ["LogRpcs"]

_DEFAULT_ENTRIES = 100
_SHORTEST_BUCKET_S = 1


class LogRpcs:
    """The logs of apps, of single containers, and of images by an image's id."""

    def __init__(self, apps: Apps, deployments: Deployments, images: Images) -> None:
        self._apps = apps
        self._deployments = deployments
        self._images = images

    @stream_rpc("AppGetLogs")
    async def follow(
        self, request: api.AppGetLogsRequest, _caller: Caller
    ) -> AsyncGenerator[api.TaskLogsBatch, None]:
        """Follow what an app's containers, or one of them, print."""
        log = await self._find(request.app_id, request.task_id)
        wanted = LogFilter(
            function_id=request.function_id or request.parametrized_function_id,
            call_id=request.function_call_id,
            task_id=request.task_id,
            source=request.file_descriptor,
            text=request.search_text,
        )
        async with aclosing(log.follow(request.last_entry_id, request.timeout)) as batches:
            async for batch in batches:
                if batch.app_done or wanted.wants(batch):
                    yield batch

    @rpc("AppFetchLogs")
    async def fetch(
        self, request: api.AppFetchLogsRequest, _caller: Caller
    ) -> api.AppFetchLogsResponse:
        """Return the newest entries that pass the request's filters."""
        log = await self._find(request.app_id)
        entries = log.tail(request.limit or _DEFAULT_ENTRIES, _filter(request))
        return api.AppFetchLogsResponse(batches=entries)

    @rpc("AppCountLogs")
    async def count(
        self, request: api.AppCountLogsRequest, _caller: Caller
    ) -> api.AppCountLogsResponse:
        """Count the entries that pass, by time and source."""
        log = await self._find(request.app_id)
        width = max(request.bucket_secs, _SHORTEST_BUCKET_S)
        counted: Counter[tuple[int, int]] = Counter()
        for batch in log.select(_filter(request)):
            item = batch.items[0]
            counted[int(item.timestamp // width) * width, item.file_descriptor] += 1
        response = api.AppCountLogsResponse(app_id=request.app_id)
        for start in sorted({start for start, _source in counted}):
            response.buckets.add(
                bucket_start_at=Timestamp(seconds=start),
                stdout_logs=counted[start, api.FILE_DESCRIPTOR_STDOUT],
                stderr_logs=counted[start, api.FILE_DESCRIPTOR_STDERR],
                system_logs=counted[start, api.FILE_DESCRIPTOR_INFO],
            )
        return response

    async def _find(self, app_id: str, task_id: str = "") -> AppLog:
        if self._images.known(app_id):
            return AppLog.of(self._images.log_lines(app_id))
        app = await self._deployments.find_by_id(app_id) if app_id else None
        if app is None and task_id:
            app = self._apps.with_task(task_id)
        if app is None:
            sought = f"app {app_id!r}" if app_id else f"container {task_id!r}"
            refuse(Status.NOT_FOUND, f"There is no {sought} in this local Modal.")
        return app.log


def _filter(request: api.AppFetchLogsRequest | api.AppCountLogsRequest) -> LogFilter:
    return LogFilter(
        function_id=request.function_id or text_of(request, "parametrized_function_id"),
        call_id=request.function_call_id,
        task_id=request.task_id,
        source=request.source,
        text=request.search_text,
        since=_seconds(request.since),
        until=_seconds(request.until),
    )


def _seconds(moment: Timestamp) -> float:
    return float(moment.seconds + moment.nanos / 1e9)
