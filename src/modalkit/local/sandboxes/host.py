"""Starts sandboxes, keeps them, and ends them."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from grpclib.const import Status

from ..apps.apps import App
from ..apps.functions import FunctionEntry
from ..containers.container import Container
from ..containers.gpus import Lease
from ..containers.pools import ContainerPool
from ..containers.tunnels import tunnel
from ..ids import new_id
from ..processes.doorways import Doorway
from ..processes.launch import ContainerSpec
from ..processes.launcher import LaunchedProcess, Streams
from ..processes.limits import Fence, Limits
from ..protocol import api, refuse
from ..store.state import remove_tree
from ..wire.outgoing_proxy import OutgoingProxy
from ..wire.trust import TLS_HOST, Trust
from .commands import Attendant, Order
from .reception import Reception
from .sandbox import MAIN, Sandbox, first, refuse_missing_image
from .spec import as_function, check, describe, outbound
from .terminals import Terminal
from .transcripts import Transcript

if TYPE_CHECKING:
    from ..containers.factory import ContainerFactory
    from ..store.secrets import Secrets

__all__ = ["SandboxHost"]

_LOG = logging.getLogger("modalkit.local")
_START_PATIENCE_S = 60.0
_HOST = "127.0.0.1"
_KEPT_ENDED = 100


@dataclass
class SandboxHost:
    """The sandboxes of a plane: those that run, and the last hundred that ended.

    Attributes:
        containers: Returns what starts the plane's containers; asked when there is one to start.
        trust: What encrypted ports show.
    """

    containers: Callable[[], ContainerFactory]
    secrets: Secrets
    trust: Trust
    _sandboxes: dict[str, Sandbox] = field(default_factory=dict)
    _lives: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def factory(self) -> ContainerFactory:
        """What starts the plane's containers."""
        return self.containers()

    def all(self) -> list[Sandbox]:
        """Return every sandbox, newest first."""
        return list(self._sandboxes.values())[::-1]

    def knows(self, identity: str) -> bool:
        """Whether this is the id of a sandbox or of its container."""
        return any(identity in {one.id, one.task_id} for one in self._sandboxes.values())

    def find(self, identity: str) -> Sandbox:
        """Return a sandbox by its id or its container's, or refuse."""
        for sandbox in self._sandboxes.values():
            if identity in {sandbox.id, sandbox.task_id}:
                return sandbox
        return refuse(Status.NOT_FOUND, f"There is no sandbox {identity!r} in this local Modal.")

    async def create(
        self, app: App, definition: api.Sandbox, variables: dict[str, str], *, identity: str
    ) -> Sandbox:
        """Start a sandbox with the variables its client gave; return when it can run commands."""
        check(definition, namespaces=self.factory.isolation.namespaces)
        refuse_missing_image(self.factory.worlds, definition.image_id)
        sandbox = self._new(app, definition, identity)
        sandbox.variables = variables
        self._sandboxes[sandbox.id] = sandbox
        self._forget_old()
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        life = asyncio.create_task(self._live(sandbox, started))
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)
        try:
            await asyncio.shield(started)
        except asyncio.CancelledError:
            sandbox.terminate()  # its client has gone without hearing of it
            raise
        return sandbox

    async def close(self) -> None:
        """End every sandbox."""
        for sandbox in self._sandboxes.values():
            sandbox.terminate()
        if self._lives:
            await asyncio.wait(self._lives)

    def _new(self, app: App, definition: api.Sandbox, identity: str) -> Sandbox:
        function = FunctionEntry(
            app=app,
            tag=definition.name or "sandbox",
            id=new_id("fu"),
            definition=as_function(definition),
            make_pool=_no_pool,
        )
        pool = ContainerPool(function, self.factory)
        folder = self.factory.run / identity
        container = Container(function, pool, folder)
        values, worlds = self.secrets.values, self.factory.worlds
        reception = Reception(container, self.trust)
        return Sandbox(identity, app, definition, container, values, worlds, reception)

    async def _live(self, sandbox: Sandbox, started: asyncio.Future[None]) -> None:
        """Run a sandbox from its folder's making to its folder's removal."""
        container = sandbox.container
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, remove_tree, container.folder)
            stack.push_async_callback(sandbox.copied)
            stack.callback(sandbox.end)
            stack.callback(sandbox.reception.close)
            stack.push_async_callback(self.factory.worlds.close, container)
            readers = await stack.enter_async_context(asyncio.TaskGroup())
            try:
                process = await self._begin(sandbox, stack, readers)
                started.set_result(None)
                sandbox.result = await sandbox.outcome(process)
                await self._commit(sandbox)
            except Exception as error:  # noqa: BLE001 - whoever waits for this sandbox must hear of it
                if started.done():
                    _LOG.exception("The sandbox %s failed", sandbox.id)
                else:
                    started.set_exception(error)
                failed = api.GenericResult.GENERIC_STATUS_INIT_FAILURE
                sandbox.result = sandbox.result or api.GenericResult(
                    status=failed, exception=str(error)
                )

    async def _begin(
        self, sandbox: Sandbox, stack: contextlib.AsyncExitStack, readers: asyncio.TaskGroup
    ) -> LaunchedProcess:
        """Start a sandbox's process, then its own command.

        The stack undoes it; the readers take what it says until it has ended.
        """
        spec = await self._prepare(sandbox, stack)
        process = await self._launch(sandbox, spec, stack, readers)
        await self._connect(sandbox, spec, process, stack)
        await self._start_main(sandbox, readers)
        if sandbox.definition.HasField("readiness_probe"):
            probing = asyncio.create_task(sandbox.readiness.watch(sandbox))
            stack.callback(probing.cancel)
        return process

    async def _prepare(self, sandbox: Sandbox, stack: contextlib.AsyncExitStack) -> ContainerSpec:
        """Take what a sandbox needs of this machine; return what its process is to be."""
        container = sandbox.container
        container.lease = await self._admitted(container.function)
        stack.callback(self.factory.admission.give_back, container.lease)
        for name in ("scratch", "output"):
            (container.folder / name).mkdir(parents=True)
        world = await self.factory.worlds.open(container)
        spec = describe(sandbox, world, self.factory)
        fence = self.factory.fences.make(Limits.of(container.function.definition))
        spec["cgroups"] = fence.entrances
        stack.push_async_callback(_take_down, fence, sandbox)
        if not self.factory.isolation.namespaces:
            links = self.factory.links
            made = links.make((bind["target"], bind["source"]) for bind in spec["binds"])
            stack.callback(links.drop, made)
        return spec

    async def _launch(
        self,
        sandbox: Sandbox,
        spec: ContainerSpec,
        stack: contextlib.AsyncExitStack,
        readers: asyncio.TaskGroup,
    ) -> LaunchedProcess:
        """Start a sandbox's process, and wait until it can run commands."""
        container = sandbox.container
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs, open(os.devnull, "wb") as nothing:  # noqa: ASYNC230, PTH123 - a device
            streams = Streams(theirs.fileno(), nothing.fileno(), nothing.fileno())
            process = await self.factory.launcher.start(container.folder, spec, streams)
        stack.push_async_callback(_end, process)
        container.process = process
        sandbox.attendant = Attendant(ours, container.folder / "output")
        readers.create_task(sandbox.attendant.listen())
        async with asyncio.timeout(_START_PATIENCE_S):
            await first(sandbox.attendant.ready.wait(), process.wait())
        if process.returncode is not None:
            refuse(Status.FAILED_PRECONDITION, "The sandbox could not be started.")
        return process

    async def _connect(
        self,
        sandbox: Sandbox,
        spec: ContainerSpec,
        process: LaunchedProcess,
        stack: contextlib.AsyncExitStack,
    ) -> None:
        """Open a sandbox's ports: those that its own network hides, then those that it shows."""
        container = sandbox.container
        if spec["own_network"]:
            container.doorway = Doorway(process)
            await _open_way_out(sandbox, container.doorway, spec["listen_ports"], stack)
        for port in sandbox.definition.open_ports.ports:
            sandbox.tunnels.append(await self._open(container, port, stack))

    async def _open(
        self, container: Container, port: api.PortSpec, stack: contextlib.AsyncExitStack
    ) -> api.TunnelData:
        """Lead a port of this machine to one of the container's until the stack is undone."""
        if port.unencrypted:
            opened = await stack.enter_async_context(tunnel(container, port.port))
            return api.TunnelData(
                container_port=port.port, unencrypted_host=_HOST, unencrypted_port=opened
            )
        http2 = port.tunnel_type == api.TUNNEL_TYPE_H2
        tls = await self.trust.server_context(http2=http2)
        opened = await stack.enter_async_context(tunnel(container, port.port, tls))
        return api.TunnelData(container_port=port.port, host=TLS_HOST, port=opened)

    async def _admitted(self, function: FunctionEntry) -> Lease:
        """Return the GPUs that a sandbox asks for, when they are free."""
        admission = self.factory.admission
        while (lease := admission.admit(function)) is None:
            free = asyncio.Event()
            admission.wait(free.set)
            await free.wait()
        return lease

    async def _commit(self, sandbox: Sandbox) -> None:
        """Commit what a sandbox changed in its volumes, while its process is there."""
        if sandbox.container.namespace_pid is None:
            return
        for mount in sandbox.definition.volume_mounts:
            if not mount.read_only:
                await self.factory.worlds.volumes.commit(sandbox.container, mount.volume_id)

    async def _start_main(self, sandbox: Sandbox, readers: asyncio.TaskGroup) -> None:
        """Start a sandbox's own command, if it has one, and log what it prints."""
        argv = [*sandbox.definition.entrypoint_args]
        if not argv:
            return
        sandbox.main = await sandbox.run(MAIN, _own_command(sandbox, argv))
        for transcript, stderr in ((sandbox.main.stdout, False), (sandbox.main.stderr, True)):
            readers.create_task(_log(sandbox, transcript, stderr=stderr))

    def _forget_old(self) -> None:
        ended = [one for one in self._sandboxes.values() if one.ended.is_set()]
        for sandbox in ended[:-_KEPT_ENDED]:
            del self._sandboxes[sandbox.id]


async def _open_way_out(
    sandbox: Sandbox, doorway: Doorway, ports: list[int], stack: contextlib.AsyncExitStack
) -> None:
    """Lead out of a sandbox's own network, as far as it may, until the stack is undone."""
    proxy = OutgoingProxy(outbound(sandbox.definition))
    for listener in await doorway.listeners(len(ports)):
        await stack.enter_async_context(proxy.serving(listener))


def _own_command(sandbox: Sandbox, argv: list[str]) -> Order:
    info = sandbox.definition.pty_info
    terminal = Terminal.of(info) if sandbox.definition.HasField("pty_info") else None
    return Order(argv, sandbox.variables, sandbox.workdir, terminal=terminal)


def _no_pool(function: FunctionEntry) -> NoReturn:
    msg = f"The sandbox {function.name!r} takes no calls."
    raise TypeError(msg)


async def _log(sandbox: Sandbox, transcript: Transcript, *, stderr: bool) -> None:
    """Copy what a sandbox's own command prints to its app's log."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    function = sandbox.container.function
    async for data in transcript.read(0):
        if text := decoder.decode(data):
            sandbox.app.log.write(
                text, task_id=sandbox.task_id, function_id=function.id, stderr=stderr
            )


async def _take_down(fence: Fence, sandbox: Sandbox) -> None:
    """Remove a sandbox's limits; if it went beyond its memory, its app's log says so."""
    if fence.exceeded_mib:
        text = (
            f"The sandbox {sandbox.id} ran out of memory: its limit is {fence.exceeded_mib} MiB.\n"
        )
        function = sandbox.container.function
        sandbox.app.log.write(text, task_id=sandbox.task_id, function_id=function.id, stderr=True)
    await asyncio.to_thread(fence.remove)


async def _end(process: LaunchedProcess) -> None:
    process.send_signal(signal.SIGKILL)
    await process.wait()
