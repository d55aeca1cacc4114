"""The command router: the second gRPC service, over which clients run commands in sandboxes.

It answers on a port of its own. A client is sent here with a token for one sandbox; what a token is
for decides which sandbox a call is about. grpclib serves it, because standard input comes as a
stream of messages, which the plane's own server does not take.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from ..protocol import Message, not_served, refuse, router, router_rpcs, secret_sources
from .commands import Command, Order
from .sandbox import Sandbox

__all__ = ["CommandRouter"]

_TOKEN_LIFETIME_S = 7 * 24 * 3600
_FILE_TOOLS = "/__modal/.bin/modal-sandbox-fs-tools"


@dataclass
class CommandRouter:
    """Serves the commands of every sandbox of a plane."""

    port: int = 0
    _tokens: WeakValueDictionary[str, Sandbox] = field(default_factory=WeakValueDictionary)
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

    def admit(self, sandbox: Sandbox) -> str:
        """Return a token with which a client may run commands in a sandbox."""

        def part(value: dict[str, object]) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        expires = int(time.time()) + _TOKEN_LIFETIME_S
        token = f"{part({'alg': 'none'})}.{part({'exp': expires})}.{secrets.token_urlsafe(24)}"
        self._tokens[token] = sandbox
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
            sandbox = self._sandbox(stream)
            if serve is None:
                raise GRPCError(Status.UNIMPLEMENTED, not_served(name))
            async for message in serve(sandbox, stream):
                await stream.send_message(message)

        return call

    def _sandbox(self, stream: Stream[Any, Any]) -> Sandbox:
        shown = stream.metadata.get("authorization") if stream.metadata else None
        sandbox = self._tokens.get(str(shown).removeprefix("Bearer "))
        if sandbox is None:
            raise GRPCError(
                Status.UNAUTHENTICATED, "This token is for no sandbox of this local Modal."
            )
        return sandbox


_Serve = Callable[[Sandbox, Stream[Any, Any]], AsyncIterator[Message]]


async def _start(sandbox: Sandbox, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Start a command."""
    request = await _request(stream)
    if request.HasField("pty_info"):
        refuse(
            Status.UNIMPLEMENTED, "The local Modal gives commands in sandboxes no terminal (pty)."
        )
    order = Order(
        argv=_argv(sandbox, [*request.command_args]),
        environment=sandbox.environment(
            [*request.secret_ids, *secret_sources(request), dict(request.env)]
        ),
        workdir=request.workdir or sandbox.workdir,
        keep_stdout=request.stdout_config == router.TASK_EXEC_STDOUT_CONFIG_PIPE,
        keep_stderr=request.stderr_config == router.TASK_EXEC_STDERR_CONFIG_PIPE,
        timeout_s=request.timeout_secs,
    )
    await sandbox.run(request.exec_id, order)
    yield router.TaskExecStartResponse()


async def _poll(sandbox: Sandbox, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Say whether and how a command has ended."""
    command = _command(sandbox, (await _request(stream)).exec_id)
    yield router.TaskExecPollResponse(**command.how_it_ended())


async def _wait(sandbox: Sandbox, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Wait for the end of a command."""
    command = _command(sandbox, (await _request(stream)).exec_id)
    await command.ended.wait()
    yield router.TaskExecWaitResponse(**command.how_it_ended())


async def _read(sandbox: Sandbox, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Give what a command prints, to its end."""
    request = await _request(stream)
    command = _command(sandbox, request.exec_id)
    stderr = request.file_descriptor == router.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDERR
    transcript = command.stderr if stderr else command.stdout
    async for data in transcript.read(request.offset):
        yield router.TaskExecStdioReadResponse(data=data)


async def _write(sandbox: Sandbox, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Pass input to a command."""
    request = await _request(stream)
    stdin = _command(sandbox, request.exec_id).stdin
    await stdin.write(request.data, request.offset, last=request.eof)
    yield router.TaskExecStdinWriteResponse()


async def _write_stream(sandbox: Sandbox, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Pass input to a command as it comes; only an explicit end closes it."""
    start = (await _request(stream)).start
    stdin, offset = _command(sandbox, start.exec_id).stdin, start.offset
    while (request := await stream.recv_message()) is not None:
        await stdin.write(request.data, offset, last=request.HasField("end"))
        offset += len(request.data)
    yield router.TaskExecStdinWriteStreamResponse()


async def _stdin_status(sandbox: Sandbox, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Say how much input a command has been given."""
    stdin = _command(sandbox, (await _request(stream)).exec_id).stdin
    yield router.TaskExecStdinStatusResponse(num_bytes_written=stdin.written, closed=stdin.closed)


async def _read_main(sandbox: Sandbox, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Give what the sandbox's own command prints, to its end."""
    request = await _request(stream)
    offset = request.offset
    stderr = request.file_descriptor == router.SANDBOX_STDIO_FILE_DESCRIPTOR_STDERR
    if sandbox.main is not None:
        transcript = sandbox.main.stderr if stderr else sandbox.main.stdout
        async for data in transcript.read(offset):
            yield router.SandboxStdioReadV2Response(data=data, starting_offset=offset)
            offset += len(data)


async def _write_main(sandbox: Sandbox, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
    """Pass input to the sandbox's own command."""
    request = await _request(stream)
    await sandbox.write_main(request.data, request.offset, last=request.eof)
    yield router.SandboxStdinWriteV2Response()


_SERVED: dict[str, _Serve] = {
    "TaskExecStart": _start,
    "TaskExecPoll": _poll,
    "TaskExecWait": _wait,
    "TaskExecStdioRead": _read,
    "TaskExecStdinWrite": _write,
    "TaskExecStdinWriteStream": _write_stream,
    "TaskExecStdinStatus": _stdin_status,
    "SandboxStdioReadV2": _read_main,
    "SandboxStdinWriteV2": _write_main,
}


async def _request(stream: Stream[Any, Any]) -> Any:
    request = await stream.recv_message()
    if request is None:
        refuse(Status.CANCELLED, "The client went away.")
    return request


def _command(sandbox: Sandbox, identity: str) -> Command:
    command = sandbox.find(identity)
    if command is None:
        refuse(Status.NOT_FOUND, f"No command {identity!r} was started in {sandbox.id!r}.")
    return command


def _argv(sandbox: Sandbox, argv: list[str]) -> list[str]:
    """Return a command, with this package's file tools in the place of Modal's."""
    return [*sandbox.file_tools, *argv[1:]] if argv[0] == _FILE_TOOLS else argv
