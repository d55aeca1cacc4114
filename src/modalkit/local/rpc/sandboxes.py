"""Sandbox RPCs.

Modal has two generations of sandboxes with the same requests under two names; the length of an id
says to a client which one to call. Here they are the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from grpclib.const import Status

from ..apps.apps import App, Apps
from ..ids import new_id
from ..protocol import Empty, api, asks_for, refuse, secret_sources
from ..sandboxes.command_router import CommandRouter, Place
from ..sandboxes.host import SandboxHost
from ..sandboxes.sandbox import Sandbox
from ..sandboxes.visits import Visits
from ..wire.grpc_server import Caller, rpc, stream_rpc

__all__ = ["SandboxRpcs"]

_PAGE = 100
_CONNECT_PORT = 8080  # of clients that cannot name another


class SandboxRpcs:
    """Sandboxes from their creation to what is left of them."""

    def __init__(
        self, host: SandboxHost, visits: Visits, apps: Apps, router: CommandRouter
    ) -> None:
        self._host = host
        self._visits = visits
        self._apps = apps
        self._router = router

    @rpc("SandboxCreateV2")
    async def create_v2(
        self, request: api.SandboxCreateV2Request, _caller: Caller
    ) -> api.SandboxCreateV2Response:
        """Start a sandbox; the client may run commands in it at once."""
        variables = dict(request.ephemeral_secrets.contents)
        for secret in secret_sources(request):
            if isinstance(secret, dict):
                variables.update(secret)
            else:
                request.definition.secret_ids.append(secret)
        identity = new_id("sb") + new_id("sb")[-4:]
        sandbox = await self._create(request.app_id, request.definition, variables, identity)
        sandbox.tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        access = api.CommandRouterAccess(url=self._router.url, jwt=self._router.admit(sandbox))
        return api.SandboxCreateV2Response(
            sandbox_id=sandbox.id,
            task_id=sandbox.task_id,
            metadata=_metadata(sandbox),
            command_router_access=access,
        )

    @rpc("SandboxCreate")
    async def create(
        self, request: api.SandboxCreateRequest, _caller: Caller
    ) -> api.SandboxCreateResponse:
        """Start a sandbox of the first generation."""
        sandbox = await self._create(request.app_id, request.definition, {}, new_id("sb"))
        sandbox.tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        return api.SandboxCreateResponse(sandbox_id=sandbox.id, metadata=_metadata(sandbox))

    @rpc("SandboxGetCommandRouterAccess")
    async def access_v2(
        self, request: api.SandboxGetCommandRouterAccessRequest, _caller: Caller
    ) -> api.SandboxGetCommandRouterAccessResponse:
        """Say where commands are run, with a token for it.

        The client asks this for any container whose id ends as those of newer sandboxes do.
        """
        place = await self._place(request.sandbox_id or request.task_id)
        return api.SandboxGetCommandRouterAccessResponse(
            url=self._router.url, jwt=self._router.admit(place)
        )

    @rpc("TaskGetCommandRouterAccess")
    async def access(
        self, request: api.TaskGetCommandRouterAccessRequest, _caller: Caller
    ) -> api.TaskGetCommandRouterAccessResponse:
        """Say where commands are run in a container, a function's or a sandbox's, with a token."""
        place = await self._place(request.task_id)
        return api.TaskGetCommandRouterAccessResponse(
            url=self._router.url, jwt=self._router.admit(place)
        )

    @rpc("SandboxWait", "SandboxWaitV2")
    async def wait(
        self, request: api.SandboxWaitRequest, _caller: Caller
    ) -> api.SandboxWaitResponse:
        """Wait for the end of a sandbox, up to the timeout."""
        sandbox = self._host.find(request.sandbox_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(request.timeout):
                await sandbox.ended.wait()
        result = sandbox.result if sandbox.ended.is_set() else None
        return api.SandboxWaitResponse(result=result, metadata=_metadata(sandbox))

    @rpc("SandboxTerminate", "SandboxTerminateV2")
    async def terminate(
        self, request: api.SandboxTerminateRequest, _caller: Caller
    ) -> api.SandboxTerminateResponse:
        """End a sandbox."""
        sandbox = self._host.find(request.sandbox_id)
        result = sandbox.result if sandbox.ended.is_set() else None
        sandbox.terminate()
        return api.SandboxTerminateResponse(existing_result=result)

    @rpc("SandboxGetTaskId", "SandboxGetTaskIdV2")
    async def task_id(
        self, request: api.SandboxGetTaskIdRequest, _caller: Caller
    ) -> api.SandboxGetTaskIdResponse:
        """Say which container a sandbox is, and how it ended if it has.

        A client that wants what an ended one printed asks until it knows the container.
        """
        sandbox = self._host.find(request.sandbox_id)
        result = sandbox.result if sandbox.ended.is_set() else None
        return api.SandboxGetTaskIdResponse(task_id=sandbox.task_id, task_result=result)

    @rpc("SandboxList", "SandboxListV2")
    async def list_all(
        self, request: api.SandboxListRequest, _caller: Caller
    ) -> api.SandboxListResponse:
        """List sandboxes, newest first."""
        found = [sandbox for sandbox in self._host.all() if _is_wanted(sandbox, request)]
        return api.SandboxListResponse(sandboxes=map(_info, found[:_PAGE]))

    @rpc("SandboxGetFromName", "SandboxGetFromNameV2")
    async def from_name(
        self, request: api.SandboxGetFromNameRequest, _caller: Caller
    ) -> api.SandboxGetFromNameResponse:
        """Find a sandbox by its name in an app."""
        for sandbox in self._host.all():
            app, name = sandbox.app, sandbox.definition.name
            there = (app.name, app.environment) == (request.app_name, request.environment_name)
            gone = sandbox.ended.is_set() and not asks_for(request, "include_terminated")
            if there and name == request.sandbox_name and not gone:
                return api.SandboxGetFromNameResponse(
                    sandbox_id=sandbox.id, metadata=_metadata(sandbox)
                )
        where = f"App {request.app_name!r} in {request.environment_name!r}"
        return refuse(Status.NOT_FOUND, f"{where} runs no sandbox {request.sandbox_name!r} here.")

    @rpc("SandboxTagsGet", "SandboxTagsGetV2")
    async def tags(
        self, request: api.SandboxTagsGetRequest, _caller: Caller
    ) -> api.SandboxTagsGetResponse:
        """Return a sandbox's tags."""
        sandbox = self._host.find(request.sandbox_id)
        return api.SandboxTagsGetResponse(tags=_tags(sandbox))

    @rpc("SandboxTagsSet", "SandboxTagsSetV2")
    async def set_tags(self, request: api.SandboxTagsSetRequest, _caller: Caller) -> Empty:
        """Replace a sandbox's tags."""
        sandbox = self._host.find(request.sandbox_id)
        sandbox.tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        return Empty()

    @rpc("SandboxGetTunnels", "SandboxGetTunnelsV2")
    async def tunnels(
        self, request: api.SandboxGetTunnelsRequest, _caller: Caller
    ) -> api.SandboxGetTunnelsResponse:
        """Say which ports of this machine lead into a sandbox."""
        sandbox = self._running(request.sandbox_id)
        response = api.SandboxGetTunnelsResponse(
            result=api.GenericResult(status=api.GenericResult.GENERIC_STATUS_SUCCESS)
        )
        response.tunnels.extend(sandbox.tunnels)
        return response

    @rpc("SandboxCreateConnectToken", "SandboxCreateConnectTokenV2")
    async def connect_token(
        self, request: api.SandboxCreateConnectTokenRequest, _caller: Caller
    ) -> api.SandboxCreateConnectTokenResponse:
        """Make a token with which HTTP reaches a port of a sandbox."""
        reception = self._running(request.sandbox_id).reception
        port = request.port or _CONNECT_PORT
        return api.SandboxCreateConnectTokenResponse(
            url=await reception.url(), token=reception.admit(port, request.user_metadata)
        )

    @rpc("SandboxStdinWrite")
    async def write_stdin(
        self, request: api.SandboxStdinWriteRequest, _caller: Caller
    ) -> api.SandboxStdinWriteResponse:
        """Pass input to the own command of a sandbox of the first generation."""
        sandbox = self._running(request.sandbox_id)
        offset = sandbox.main.stdin.written if sandbox.main is not None else 0
        await sandbox.write_main(request.input, offset, last=request.eof)
        return api.SandboxStdinWriteResponse()

    @stream_rpc("SandboxGetLogs")
    async def logs(
        self, request: api.SandboxGetLogsRequest, _caller: Caller
    ) -> AsyncGenerator[api.TaskLogsBatch, None]:
        """Give what the own command of a sandbox of the first generation prints, to its end."""
        sandbox = self._host.find(request.sandbox_id)
        if sandbox.main is not None:
            stderr = request.file_descriptor == api.FILE_DESCRIPTOR_STDERR
            transcript = sandbox.main.stderr if stderr else sandbox.main.stdout
            offset = int(request.last_entry_id or 0)
            async for data in transcript.read(offset):
                offset += len(data)
                item = api.TaskLogs(
                    data=data.decode(errors="replace"), file_descriptor=request.file_descriptor
                )
                yield api.TaskLogsBatch(entry_id=str(offset), items=[item])
        yield api.TaskLogsBatch(eof=True)

    async def _create(
        self, app_id: str, definition: api.Sandbox, variables: dict[str, str], identity: str
    ) -> Sandbox:
        app = self._apps.get(app_id)
        if app is None or app.over:
            refuse(Status.NOT_FOUND, f"There is no running app {app_id!r} in this local Modal.")
        self._check_name(app, definition.name)
        return await self._host.create(app, definition, variables, identity=identity)

    def _check_name(self, app: App, name: str) -> None:
        for sandbox in self._host.all():
            same = sandbox.app is app and name and sandbox.definition.name == name
            if same and not sandbox.ended.is_set():
                refuse(
                    Status.ALREADY_EXISTS,
                    f"App {app.label!r} runs a sandbox {name!r} already. Take another name, or "
                    f"Sandbox.from_name({app.label!r}, {name!r}).",
                )

    async def _place(self, identity: str) -> Place:
        """Return what runs commands in a function's container or in a sandbox, or refuse."""
        if container := self._apps.container(identity):
            return await self._visits.to(container)
        if identity.startswith("ta-") and not self._host.knows(identity):
            refuse(
                Status.NOT_FOUND,
                f"No container {identity!r} runs in this local Modal. See: modal container list",
            )
        return self._host.find(identity)  # of one that has ended, what it printed can be read

    def _running(self, identity: str) -> Sandbox:
        sandbox = self._host.find(identity)
        if sandbox.ended.is_set():
            refuse(Status.FAILED_PRECONDITION, f"The sandbox {sandbox.id!r} has ended.")
        return sandbox


def _is_wanted(sandbox: Sandbox, request: api.SandboxListRequest) -> bool:
    asked = {tag.tag_name: tag.tag_value for tag in request.tags}
    return (
        (not request.app_id or sandbox.app.id == request.app_id)
        and (bool(request.app_id) or sandbox.app.environment == request.environment_name)
        and (request.include_finished or not sandbox.ended.is_set())
        and (not request.before_timestamp or sandbox.created_at < request.before_timestamp)
        and asked.items() <= sandbox.tags.items()
    )


def _info(sandbox: Sandbox) -> api.SandboxInfo:
    return api.SandboxInfo(
        id=sandbox.id,
        created_at=sandbox.created_at,
        app_id=sandbox.app.id,
        name=sandbox.definition.name,
        image_id=sandbox.definition.image_id,
        timeout_secs=sandbox.definition.timeout_secs,
        idle_timeout_secs=sandbox.definition.idle_timeout_secs,
        tags=_tags(sandbox),
        task_info=api.TaskInfo(
            id=sandbox.task_id,
            started_at=sandbox.created_at,
            enqueued_at=sandbox.created_at,
            result=sandbox.result,
            sandbox_id=sandbox.id,
        ),
        metadata=_metadata(sandbox),
    )


def _tags(sandbox: Sandbox) -> list[api.SandboxTag]:
    return [api.SandboxTag(tag_name=key, tag_value=value) for key, value in sandbox.tags.items()]


def _metadata(sandbox: Sandbox) -> api.SandboxHandleMetadata:
    return api.SandboxHandleMetadata(app_id=sandbox.app.id, result=sandbox.result)
