"""Starts sandboxes, keeps them, and ends them."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from grpclib.const import Status

from .apps import App
from .commands import Attendant, Order
from .containers import Container
from .functions import FunctionEntry
from .gpus import Lease
from .ids import new_id
from .launch import Bind, ContainerSpec
from .launcher import LaunchedProcess, Streams
from .network import Doorway
from .pools import ContainerPool
from .protocol import api, refuse
from .proxy import PROXY_PORT, proxy_variables
from .sandboxes import MAIN, Sandbox, inside
from .state import remove_tree
from .streams import both_ways
from .transcripts import Transcript

if TYPE_CHECKING:
    from .factory import ContainerFactory
    from .rpc.secrets import Secrets
    from .world import World

__all__ = ["SandboxHost"]

_LOG = logging.getLogger("modalkit.local")
_TOOLS = "/__modal/sandbox"
_PROGRAMS = Path(__file__).with_name("inside")
_START_PATIENCE_S = 60.0
_KEPT_ENDED = 100


@dataclass
class SandboxHost:
    """The sandboxes of a plane: those that run, and the last hundred that ended.

    Attributes:
        containers: Returns what starts the plane's containers; asked when there is one to start.
    """

    containers: Callable[[], ContainerFactory]
    secrets: Secrets
    _sandboxes: dict[str, Sandbox] = field(default_factory=dict)
    _lives: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def factory(self) -> ContainerFactory:
        """What starts the plane's containers."""
        return self.containers()

    def all(self) -> list[Sandbox]:
        """Return every sandbox, newest first."""
        return list(self._sandboxes.values())[::-1]

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
        _check(definition)
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
            definition=_as_function(definition),
            make_pool=_no_pool,
        )
        pool = ContainerPool(function, self.factory)
        folder = self.factory.run / identity
        container = Container(function, pool, folder)
        return Sandbox(identity, app, definition, container, self.secrets.values)

    async def _live(self, sandbox: Sandbox, started: asyncio.Future[None]) -> None:
        """Run a sandbox from its folder's making to its folder's removal."""
        container = sandbox.container
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, remove_tree, container.folder)
            stack.callback(sandbox.ended.set)
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
        container = sandbox.container
        container.lease = await self._admitted(container.function)
        stack.callback(self.factory.admission.give_back, container.lease)
        for name in ("scratch", "output"):
            (container.folder / name).mkdir(parents=True)
        world = await self.factory.worlds.open(container)
        spec = self._spec(sandbox, world)
        if not self.factory.isolation.namespaces:
            links = self.factory.links
            made = links.make((bind["target"], bind["source"]) for bind in spec["binds"])
            stack.callback(links.drop, made)
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
            await _first(sandbox.attendant.ready.wait(), process.wait())
        if process.returncode is not None:
            refuse(Status.FAILED_PRECONDITION, "The sandbox could not be started.")
        if spec["own_network"]:
            container.doorway = Doorway(process)
            await self._open_network(container.doorway, spec["listen_ports"])
        for port in sandbox.definition.open_ports.ports:
            sandbox.ports[port.port] = await stack.enter_async_context(
                _tunnel(container, port.port)
            )
        await self._start_main(sandbox, readers)
        return process

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

    async def _open_network(self, doorway: Doorway, ports: list[int]) -> None:
        """Serve the plane's ports inside a sandbox's own network."""
        for listener, port in zip(await doorway.listeners(len(ports)), ports, strict=True):
            await self.factory.adopt_socket(listener, port)

    async def _start_main(self, sandbox: Sandbox, readers: asyncio.TaskGroup) -> None:
        """Start a sandbox's own command, if it has one, and log what it prints."""
        argv = [*sandbox.definition.entrypoint_args]
        if not argv:
            return
        sandbox.main = await sandbox.run(MAIN, Order(argv, sandbox.variables, sandbox.workdir))
        for transcript, stderr in ((sandbox.main.stdout, False), (sandbox.main.stderr, True)):
            readers.create_task(_log(sandbox, transcript, stderr=stderr))

    def _spec(self, sandbox: Sandbox, world: World) -> ContainerSpec:
        """Describe a sandbox's container: its program is the attendant."""
        factory, container = self.factory, sandbox.container
        namespaces = factory.isolation.namespaces
        layer = world.layer
        sandbox.tools = Path(_TOOLS) if namespaces else _PROGRAMS
        sandbox.workdir = sandbox.definition.workdir or (
            world.workdir if namespaces else str(layer / "root")
        )
        blocked = container.function.definition.block_network
        own_network = bool(sandbox.definition.open_ports.ports) or blocked
        env = {
            **factory.environment,
            **(proxy_variables() if own_network and namespaces else {}),
            **world.environment("" if namespaces else str(layer)),
            **factory.admission.variables(container.lease),
            "MODAL_SANDBOX_ID": sandbox.id,
            "MODAL_TASK_ID": sandbox.task_id,
        }
        path = env.get("PATH", os.defpath)
        env["PATH"] = os.pathsep.join([str(Path(world.python).parent), path])
        sandbox.variables = {**env, **sandbox.variables}
        spec = factory.isolation.spec(
            container.folder,
            layer,
            inside(sandbox.tools / "attendant.py"),
            env,
            binds=world.binds,
            own_network=own_network,
            lowers=world.lowers,
            keep=world.keep,
        )
        if namespaces:
            spec["binds"].insert(0, Bind(source=str(_PROGRAMS), target=_TOOLS, read_only=True))
        spec["cwd"] = sandbox.workdir
        spec["listen_ports"] = [] if blocked or not spec["own_network"] else [PROXY_PORT]
        return spec

    def _forget_old(self) -> None:
        ended = [one for one in self._sandboxes.values() if one.ended.is_set()]
        for sandbox in ended[:-_KEPT_ENDED]:
            del self._sandboxes[sandbox.id]


def _as_function(definition: api.Sandbox) -> api.Function:
    """Describe what a sandbox's container finds around it as a function's definition does."""
    access = definition.network_access.network_access_type
    return api.Function(
        image_id=definition.image_id,
        mount_ids=definition.mount_ids,
        secret_ids=definition.secret_ids,
        volume_mounts=definition.volume_mounts,
        cloud_bucket_mounts=definition.cloud_bucket_mounts,
        resources=definition.resources,
        block_network=definition.block_network or access == api.NetworkAccess.BLOCKED,
    )


def _no_pool(function: FunctionEntry) -> NoReturn:
    msg = f"The sandbox {function.name!r} takes no calls."
    raise TypeError(msg)


def _check(definition: api.Sandbox) -> None:
    """Refuse what a sandbox would need and does not get here."""
    limits = definition.network_access
    missing = {
        "network allowlists": limits.network_access_type == api.NetworkAccess.ALLOWLIST,
        "encrypted ports (use unencrypted_ports)": any(
            not port.unencrypted for port in definition.open_ports.ports
        ),
        "readiness probes": definition.HasField("readiness_probe"),
        "a terminal (pty)": definition.HasField("pty_info"),
        "network file systems": bool(definition.nfs_mounts),
    }
    if asked := [name for name, wanted in missing.items() if wanted]:
        refuse(
            Status.UNIMPLEMENTED,
            f"The local Modal's sandboxes do not have: {', '.join(asked)}. Leave that out here.",
        )


@contextlib.asynccontextmanager
async def _tunnel(container: Container, port: int) -> AsyncIterator[int]:
    """Lead a port of this machine into a sandbox; yield its number."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        container.connections += 1
        try:
            inner = await _connection(container, port)
            await both_ways(reader, writer, *inner)
            inner[1].close()
        except OSError:
            pass  # nothing listens there (yet), or it went away
        finally:
            container.connections -= 1
            writer.close()

    async with await asyncio.start_server(carry, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def _connection(
    container: Container, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if container.doorway is None:
        return await asyncio.open_connection("127.0.0.1", port)
    return await asyncio.open_connection(sock=await container.doorway.connect(port))


async def _log(sandbox: Sandbox, transcript: Transcript, *, stderr: bool) -> None:
    """Copy what a sandbox's own command prints to its app's log."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    function = sandbox.container.function
    async for data in transcript.read(0):
        if text := decoder.decode(data):
            sandbox.app.log.write(
                text, task_id=sandbox.task_id, function_id=function.id, stderr=stderr
            )


async def _first(*events: Coroutine[Any, Any, object]) -> None:
    """Wait for the first of some events."""
    waiting = [asyncio.ensure_future(event) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for event in waiting:
            event.cancel()


async def _end(process: LaunchedProcess) -> None:
    process.send_signal(signal.SIGKILL)
    await process.wait()
