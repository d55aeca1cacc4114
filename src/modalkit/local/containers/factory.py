"""Starts containers: the one place where a function becomes a process."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..processes.doorways import Doorway
from ..processes.isolation import INSIDE, Isolation, Links
from ..processes.launch import Bind, ContainerSpec
from ..processes.launcher import LaunchedProcess, Launcher, Streams, read_pipe
from ..processes.limits import Fences, Limits
from ..processes.strays import end_marked
from ..processes.zygotes import CONTAINER_MODULE
from ..protocol import api
from ..store.state import remove_tree
from ..wire.outgoing_proxy import PROXY_PORT, proxy_variables
from .admission import Admission
from .container import Container, Ended
from .gpus import Lease

if TYPE_CHECKING:
    from ..apps.functions import FunctionEntry
    from ..wire.grpc_server import RpcServer
    from .pools import ContainerPool
    from .worlds import Worlds

__all__ = ["ContainerFactory"]

_LOG = logging.getLogger("modalkit.local")
_LAST_LINES = 12


@dataclass
class ContainerFactory:
    """Starts containers and notices when they end.

    Attributes:
        open_socket: Opens the Unix socket on which one container talks to the plane.
        serving_inside: Serves one of the plane's ports inside a container's own network.
        starting: Told of the function before one of its containers starts.
        launcher: Starts their processes.
        admission: Hands out GPUs.
        fences: Sets memory and CPU limits.
        listen_ports: The plane's ports that a container with an own network must reach.
    """

    run: Path
    sockets: Path
    isolation: Isolation
    launcher: Launcher
    admission: Admission
    worlds: Worlds
    open_socket: Callable[[Container, Path], Awaitable[RpcServer]]
    serving_inside: Callable[[socket.socket, int], AbstractAsyncContextManager[None]]
    starting: Callable[[FunctionEntry], None]
    listen_ports: list[int] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    links: Links = field(init=False)
    fences: Fences = field(default_factory=Fences)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _alive: set[Container] = field(default_factory=set)
    _count: int = 0

    def __post_init__(self) -> None:
        self.links = Links(self.run / "plain")

    def start(self, function: FunctionEntry, pool: ContainerPool, lease: Lease) -> Container:
        """Start a container; it reports to ``pool`` when it is ready and when it ends."""
        self.starting(function)
        self._count += 1
        container = Container(function, pool, self.run / f"c{self._count}", lease=lease)
        self._alive.add(container)
        self._keep(self._live(container))
        return container

    def ask_idle_to_give_way(self) -> None:
        """Let containers that have GPUs and nothing to do end, because others wait for those."""
        for container in list(self._alive):
            if container.lease.devices:
                container.pool.give_way(container)

    def prepare(self) -> None:
        """Make the start of the first container quick."""
        self._keep(self.launcher.prepare())

    async def finish(self) -> None:
        """Wait until every container's folder is gone."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.launcher.finish()

    def _socket(self, container: Container) -> Path:
        return self.sockets / f"{container.folder.name}.sock"

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self, container: Container) -> None:
        """Run a container from its folder's making to its folder's removal."""
        server: RpcServer | None = None
        links: list[Path] = []
        last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        code = 125
        fence = self.fences.make(Limits.of(container.function.definition))
        try:
            (container.folder / "scratch").mkdir(parents=True)
            (container.folder / "task").mkdir()
            server = await self.open_socket(container, self._socket(container))
            spec = await self._prepare(container)
            spec["cgroups"] = fence.entrances
            if not self.isolation.namespaces:
                layer = self.links.layer_targets(Path(spec["layer"]))
                binds = ((bind["target"], bind["source"]) for bind in spec["binds"])
                links = self.links.make([*layer, *binds])
            code = await self._run(container, spec, last_lines)
        except Exception as error:  # noqa: BLE001 - whoever waits for this container must hear of it
            _LOG.exception("The container of %r could not be started", container.function.name)
            last_lines.append(f"{type(error).__name__}: {error}")
        finally:
            self.links.drop(links)
            await self.worlds.close(container)
            if server is not None:
                server.close()
            self._alive.discard(container)
            container.gone.set()
            self.admission.give_back(container.lease)
            lines, memory = tuple(last_lines), fence.exceeded_mib
            container.pool.ended(container, Ended(container.function.name, code, lines, memory))
            self._socket(container).unlink(missing_ok=True)
            await asyncio.to_thread(fence.remove)
            await asyncio.to_thread(remove_tree, container.folder)

    async def _prepare(self, container: Container) -> ContainerSpec:
        """Write down what the container sees and which arguments Modal's entrypoint gets."""
        function, folder = container.function, container.folder
        inside = INSIDE if self.isolation.namespaces else str(folder / "task")
        arguments = function.container_arguments(container.id)
        (folder / "task" / "arguments.bin").write_bytes(arguments.SerializeToString())
        world = await self.worlds.open(container)
        layer = world.layer
        if not self.isolation.namespaces:
            layer = self.links.plain_layer(world.layer)
        env = {
            **self.environment,
            **world.environment(str(layer) if not self.isolation.namespaces else ""),
            **self.admission.variables(container.lease),
            **_modal_variables(container, inside),
            **(proxy_variables() if function.own_network and self.isolation.namespaces else {}),
        }
        spec = self.isolation.spec(
            folder,
            layer,
            [world.python, "-m", CONTAINER_MODULE],
            env,
            binds=world.binds,
            own_network=function.own_network,
            lowers=world.lowers,
            changes=world.changes,
            keep=world.keep,
        )
        if self.isolation.namespaces:
            own = {folder / "task": INSIDE, self._socket(container): f"{INSIDE}/plane.sock"}
            binds = [Bind(source=str(a), target=b, read_only=False) for a, b in own.items()]
            spec["binds"] = [*binds, *spec["binds"]]
            spec["cwd"] = world.workdir
        else:
            spec["env"]["MODAL_SERVER_URL"] = f"unix://localhost{self._socket(container)}"
        return spec

    async def _run(self, container: Container, spec: ContainerSpec, last_lines: deque[str]) -> int:
        """Start the process, pass its output on, and wait for its end."""
        if spec["own_network"]:
            closed = {PROXY_PORT} if container.function.definition.block_network else set()
            spec["listen_ports"] = [port for port in self.listen_ports if port not in closed]
        stdout, to_stdout = await read_pipe()
        stderr, to_stderr = await read_pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            streams = Streams(nothing, to_stdout, to_stderr)
            process = await self.launcher.start(container.folder, spec, streams)
        finally:
            for descriptor in (nothing, to_stdout, to_stderr):
                os.close(descriptor)
        pumps = asyncio.gather(
            _pump(container, stdout, last_lines, stderr=False),
            _pump(container, stderr, last_lines, stderr=True),
        )
        self._attach(container, process, spec)
        code = await process.wait()
        if process.lost and not spec["namespaces"]:
            await asyncio.to_thread(end_marked, "MODAL_TASK_ID", container.id)
        await pumps
        self._say(container, api.TASK_STATE_COMPLETED)
        return code

    def _attach(self, container: Container, process: LaunchedProcess, spec: ContainerSpec) -> None:
        """Tell a container of its process, and the process what it missed."""
        container.process = process
        container.reached("process")
        if spec["own_network"]:
            container.doorway = Doorway(process)
            self._keep(self._serve_inside(container, container.doorway, spec["listen_ports"]))
        if container.stopping or container.startup_result is not None:
            container.signal(signal.SIGKILL)
        self._say(container, api.TASK_STATE_CREATING_CONTAINER)

    async def _serve_inside(self, container: Container, doorway: Doorway, ports: list[int]) -> None:
        """Serve the plane's own ports inside a container's network, as long as it lives."""
        with contextlib.suppress(OSError):
            async with contextlib.AsyncExitStack() as stack:
                await self.open_inside(doorway, ports, stack)
                await container.gone.wait()

    async def open_inside(
        self, doorway: Doorway, ports: list[int], stack: contextlib.AsyncExitStack
    ) -> None:
        """Serve the plane's own ports inside a network until the stack ends it.

        Raises:
            OSError: The container has ended.
        """
        for listener, port in zip(await doorway.listeners(len(ports)), ports, strict=True):
            await stack.enter_async_context(self.serving_inside(listener, port))

    @staticmethod
    def _say(container: Container, state: api.TaskState.ValueType) -> None:
        container.function.app.log.task_state(
            state, task_id=container.id, function_id=container.function.id
        )


def _modal_variables(container: Container, inside: str) -> dict[str, str]:
    function = container.function
    return {
        # With a host the client knows that it may use plain HTTP, which commands in sandboxes need.
        "MODAL_SERVER_URL": f"unix://localhost{inside}/plane.sock",
        "MODAL_CONTAINER_ARGUMENTS_PATH": f"{inside}/arguments.bin",
        "MODAL_TASK_ID": container.id,
        "MODAL_IMAGE_ID": function.definition.image_id,
        "MODAL_IS_REMOTE": "1",
        "MODAL_ENVIRONMENT": function.app.environment,
        "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_LOCAL",
        "MODAL_REGION": "local",
        "PYTHONUNBUFFERED": "1",
    }


async def _pump(
    container: Container,
    stream: asyncio.StreamReader,
    last_lines: deque[str],
    *,
    stderr: bool,
) -> None:
    """Copy one of a container's output streams to its app's log."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    function = container.function
    while data := await stream.read(65536):
        if text := decoder.decode(data):
            function.app.log.write(
                text,
                task_id=container.id,
                function_id=function.id,
                stderr=stderr,
                call_id=container.only_call,
            )
            last_lines.extend(line for line in text.splitlines() if line.strip())
