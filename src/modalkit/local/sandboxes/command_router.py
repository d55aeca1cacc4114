"""The command router: the second gRPC service, over which clients run commands in containers.

It answers on a port of its own. A client is sent here with a token for one sandbox or container of a
function; what a token is for decides which one a call is about. grpclib serves it, because standard input comes as a
stream of messages, which the plane's own server does not take.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import posixpath
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakValueDictionary

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from ..protocol import Empty, Message, refuse, router, router_rpcs, secret_sources
from ..refusals import not_served
from .commands import Command, Order
from .terminals import Terminal

__all__ = ["CommandRouter", "Place"]

_TOKEN_LIFETIME_S = 7 * 24 * 3600
_FILE_TOOLS = "/__modal/.bin/modal-sandbox-fs-tools"


class Place(Protocol):
    """Where commands run: a sandbox, or a visit to a function's container."""

    @property
    def id(self) -> str:
        """Its name in messages."""

    @property
    def workdir(self) -> str:
        """Where commands start unless told otherwise."""

    @property
    def file_tools(self) -> list[str]:
        """The command that stands for Modal's file tools."""

    @property
    def main(self) -> Command | None:
        """Its own command, if it has one."""

    def environment(self, secrets: Iterable[dict[str, str] | str]) -> dict[str, str]:
        """Return a command's variables."""

    async def run(self, identity: str, order: Order) -> Command:
        """Start a command, or refuse."""

    def find(self, identity: str) -> Command | None:
        """Return a command by the id its client gave it."""

    async def reload_volumes(self) -> None:
        """Show what others committed to its volumes, or refuse."""

    async def snapshot(self) -> str:
        """Keep its files as an image and return the image's id, or refuse."""

    async def snapshot_folder(self, path: str) -> str:
        """Keep one of its folders as an image and return the image's id, or refuse."""

    async def mount_image(self, path: str, image_id: str) -> None:
        """Show an image's own files at a path, or refuse."""

    async def unmount_image(self, path: str) -> None:
        """Show what was at a path before an image was mounted there, or refuse."""

    async def ready_at(self) -> float:
        """Wait for its readiness probe and return when it succeeded, or refuse."""

    async def write_main(self, data: bytes, offset: int, *, last: bool) -> None:
        """Pass input to its own command, or refuse."""


@dataclass
class CommandRouter:
    """Serves the commands of every sandbox and container of a plane."""

    port: int = 0
    _tokens: WeakValueDictionary[str, Place] = field(default_factory=WeakValueDictionary)
    _server: Server = field(init=False)

    def __post_init__(self) -> None:
        self._server = Server([self])

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Answer on a free loopback port."""
        listener = socket.create_server(("127.0.0.1", 0))
        # Connections inherit it; asyncio sets it only on sockets made with a protocol number.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        await self._server.start(sock=listener)

    @asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        """Answer on a listening socket as well: in a container's own network."""
        server = Server([self])
        await server.start(sock=listener)
        try:
            yield
        finally:
            server.close()

    async def stop(self) -> None:
        """Stop answering."""
        self._server.close()
        await self._server.wait_closed()

    def admit(self, place: Place) -> str:
        """Return a token with which a client may run commands in a place, while that is kept."""

        def part(value: dict[str, object]) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        expires = int(time.time()) + _TOKEN_LIFETIME_S
        token = f"{part({'alg': 'none'})}.{part({'exp': expires})}.{secrets.token_urlsafe(24)}"
        self._tokens[token] = place
        return token

    def __mapping__(self) -> dict[str, Handler]:
        """What grpclib wants to see of a service."""
        return {
            path: Handler(
                self._entry(name, _SERVED.get(name)),
                known.cardinality,
                known.request_type,
                known.reply_type,
            )
            for path, (name, known) in router_rpcs().items()
        }

    def _entry(
        self, name: str, serve: _Serve | None
    ) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def call(stream: Stream[Any, Any]) -> None:
            place = self._place(stream)
            if serve is None:
                raise GRPCError(Status.UNIMPLEMENTED, not_served(name))
            async for message in serve(place, stream):
                await stream.send_message(message)

        return call

    def _place(self, stream: Stream[Any, Any]) -> Place:
        shown = stream.metadata.get("authorization") if stream.metadata else None
        place = self._tokens.get(str(shown).removeprefix("Bearer "))
        if place is None:
            raise GRPCError(
                Status.UNAUTHENTICATED, "This token is for no container of this local Modal."
            )
        return place


_Serve = Callable[[Place, Stream[Any, Any]], AsyncIterator[Message]]


async def _start(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Start a command."""
    request = await _request(stream)
    order = Order(
        argv=_argv(place, [*request.command_args]),
        environment=place.environment(
            [*request.secret_ids, *secret_sources(request), dict(request.env)]
        ),
        workdir=request.workdir or place.workdir,
        keep_stdout=request.stdout_config == router.TASK_EXEC_STDOUT_CONFIG_PIPE,
        keep_stderr=request.stderr_config == router.TASK_EXEC_STDERR_CONFIG_PIPE,
        timeout_s=request.timeout_secs,
        terminal=Terminal.of(request.pty_info) if request.HasField("pty_info") else None,
    )
    await place.run(request.exec_id, order)
    yield router.TaskExecStartResponse()


async def _poll(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Say whether and how a command has ended."""
    command = _command(place, (await _request(stream)).exec_id)
    yield router.TaskExecPollResponse(**command.how_it_ended())


async def _wait(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Wait for the end of a command."""
    command = _command(place, (await _request(stream)).exec_id)
    await command.end_of_all()
    yield router.TaskExecWaitResponse(**command.how_it_ended())


async def _read(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Give what a command prints, to its end."""
    request = await _request(stream)
    command = _command(place, request.exec_id)
    stderr = request.file_descriptor == router.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDERR
    async with aclosing(command.read(stderr=stderr, offset=request.offset)) as printed:
        async for data in printed:
            yield router.TaskExecStdioReadResponse(data=data)


async def _write(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Pass input to a command."""
    request = await _request(stream)
    stdin = _command(place, request.exec_id).stdin
    await stdin.write(request.data, request.offset, last=request.eof)
    yield router.TaskExecStdinWriteResponse()


async def _write_stream(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Pass input to a command as it comes; only an explicit end closes it."""
    start = (await _request(stream)).start
    stdin, offset = _command(place, start.exec_id).stdin, start.offset
    while (request := await stream.recv_message()) is not None:
        await stdin.write(request.data, offset, last=request.HasField("end"))
        offset += len(request.data)
    yield router.TaskExecStdinWriteStreamResponse()


async def _stdin_status(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Say how much input a command has been given."""
    stdin = _command(place, (await _request(stream)).exec_id).stdin
    yield router.TaskExecStdinStatusResponse(num_bytes_written=stdin.written, closed=stdin.closed)


async def _reload_volumes(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Show a sandbox what others committed to its volumes."""
    await _request(stream)
    await place.reload_volumes()
    yield router.TaskReloadVolumesResponse()


async def _snapshot(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Keep a sandbox's files as an image."""
    await _request(stream)
    yield router.TaskSnapshotFilesystemResponse(image_id=await place.snapshot())


async def _snapshot_folder(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Keep a folder of a sandbox as an image."""
    path = _folder(await _request(stream))
    yield router.TaskSnapshotDirectoryResponse(image_id=await place.snapshot_folder(path))


async def _mount_image(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Show an image in a running sandbox."""
    request = await _request(stream)
    await place.mount_image(_folder(request), request.image_id)
    yield Empty()


async def _unmount_image(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Show what was there before."""
    await place.unmount_image(_folder(await _request(stream)))
    yield Empty()


async def _wait_until_ready(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Wait until a sandbox's readiness probe has succeeded."""
    request = await _request(stream)
    try:
        async with asyncio.timeout(request.timeout):
            ready_at = await place.ready_at()
    except TimeoutError:
        refuse(Status.DEADLINE_EXCEEDED, f"{place.id!r} is not ready after {request.timeout:g} s.")
    yield router.SandboxWaitUntilReadyTcrResponse(ready_at=ready_at)


async def _read_main(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Give what the sandbox's own command prints, to its end."""
    request = await _request(stream)
    offset = request.offset
    stderr = request.file_descriptor == router.SANDBOX_STDIO_FILE_DESCRIPTOR_STDERR
    if place.main is not None:
        transcript = place.main.stderr if stderr else place.main.stdout
        async for data in transcript.read(offset):
            yield router.SandboxStdioReadV2Response(data=data, starting_offset=offset)
            offset += len(data)


async def _write_main(place: Place, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Pass input to the sandbox's own command."""
    request = await _request(stream)
    await place.write_main(request.data, request.offset, last=request.eof)
    yield router.SandboxStdinWriteV2Response()


_SERVED: dict[str, _Serve] = {
    "TaskExecStart": _start,
    "TaskExecPoll": _poll,
    "TaskExecWait": _wait,
    "TaskExecStdioRead": _read,
    "TaskExecStdinWrite": _write,
    "TaskExecStdinWriteStream": _write_stream,
    "TaskExecStdinStatus": _stdin_status,
    "TaskReloadVolumes": _reload_volumes,
    "TaskSnapshotFilesystem": _snapshot,
    "TaskSnapshotDirectory": _snapshot_folder,
    "TaskMountDirectory": _mount_image,
    "TaskUnmountDirectory": _unmount_image,
    "SandboxWaitUntilReady": _wait_until_ready,
    "SandboxStdioReadV2": _read_main,
    "SandboxStdinWriteV2": _write_main,
}


async def _request(stream: Stream[Any, Any]) -> Any:
    request = await stream.recv_message()
    if request is None:
        refuse(Status.CANCELLED, "The client went away.")
    return request


def _folder(request: Any) -> str:
    """Return the folder of a container that a request is about, or refuse the root."""
    path = posixpath.normpath(os.fsdecode(request.path))
    if not path.strip("/"):
        refuse(
            Status.INVALID_ARGUMENT,
            "Name a folder below '/'. `snapshot_filesystem()` keeps all files of a sandbox.",
        )
    return path


def _command(place: Place, identity: str) -> Command:
    command = place.find(identity)
    if command is None:
        refuse(Status.NOT_FOUND, f"No command {identity!r} was started in {place.id!r}.")
    return command


def _argv(place: Place, argv: list[str]) -> list[str]:
    """Return a command, with this package's file tools in the place of Modal's."""
    return [*place.file_tools, *argv[1:]] if argv[0] == _FILE_TOOLS else argv
