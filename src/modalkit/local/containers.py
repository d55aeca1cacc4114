"""One container: a process that runs Modal's own entrypoint for one function.

`ContainerFactory.start` is the one place that starts a container.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import logging
import signal
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .ids import new_id
from .isolation import INSIDE, Isolation, Links, launcher_command
from .launch import Bind, ContainerSpec
from .network import Doorway
from .protocol import api
from .proxy import PROXY_PORT, proxy_variables
from .state import remove_tree

if TYPE_CHECKING:
    from .calls import Input
    from .functions import FunctionEntry
    from .pools import ContainerPool
    from .server import RpcServer
    from .world import Worlds

__all__ = ["Container", "ContainerFactory", "Ended"]

_LOG = logging.getLogger("modalkit.local")
_LAST_LINES = 12
_EXIT_GRACE_S = 30.0
_ENTRYPOINT = "modal._container_entrypoint"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container's process ended."""

    function: str
    code: int
    last_lines: tuple[str, ...]

    def as_result(self) -> api.GenericResult:
        """Say it to whoever waited for that container."""
        how = f"signal {self.code - 128}" if self.code > 128 else f"exit code {self.code}"  # noqa: PLR2004 - a shell's convention
        tail = "\n".join(f"  {line}" for line in self.last_lines) or "  (it printed nothing)"
        message = f"The container of {self.function!r} ended with {how}. Its last lines:\n{tail}"
        status = api.GenericResult.GENERIC_STATUS_FAILURE
        return api.GenericResult(status=status, exception=message)


@dataclass(eq=False)
class Container:
    """One container and what it is doing.

    Attributes:
        ready: It asked for its first input, or said that its server is up.
        retiring: It takes no more work and ends when what it has is done.
        stopping: The plane ended it on purpose; what it ran was not at fault.
        interrupted: It was killed to stop one input; its other inputs run again elsewhere.
        running: Inputs it works on; None stands for one it was told to give up.
        connections: Open connections, for a server.
    """

    function: FunctionEntry
    pool: ContainerPool
    folder: Path
    id: str = field(default_factory=lambda: new_id("ta"))
    ready: bool = False
    retiring: bool = False
    stopping: bool = False
    interrupted: bool = False
    running: dict[str, Input | None] = field(default_factory=dict)
    connections: int = 0
    startup_result: api.GenericResult | None = None
    doorway: Doorway | None = None
    process: asyncio.subprocess.Process | None = None
    started_at: float = field(default_factory=time.time)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _to_cancel: set[str] = field(default_factory=set)
    _cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def namespace_pid(self) -> int | None:
        """A process of this machine that sees the container's mounts, while there is one."""
        return self.process.pid if self.process is not None else None

    @property
    def load(self) -> int:
        """How much it is doing."""
        return len(self.running) + self.connections

    @property
    def only_call(self) -> str:
        """The id of the call it works for, if that is only one."""
        calls = {entry.call.id for entry in self.running.values() if entry is not None}
        return calls.pop() if len(calls) == 1 else ""

    def cancel_input(self, input_id: str) -> None:
        """Ask it to give up an input; it hears so in the answer to its heartbeat."""
        self._to_cancel.add(input_id)
        self._cancelled.set()

    async def cancellations(self, within_s: float) -> list[str]:
        """Wait up to ``within_s`` seconds for inputs to cancel."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._cancelled.wait()
        cancelled = list(self._to_cancel)
        self._to_cancel.clear()
        self._cancelled.clear()
        return cancelled

    def fail(self, reason: str) -> None:
        """End it because it did not start as it should; waiting callers get the reason."""
        status = api.GenericResult.GENERIC_STATUS_FAILURE
        self.startup_result = api.GenericResult(status=status, exception=reason)
        self.signal(signal.SIGKILL)

    def kill(self) -> None:
        """End it to stop one of its inputs."""
        self.interrupted = True
        self.signal(signal.SIGKILL)

    def preempt(self) -> None:
        """End it now, exit hooks included; its inputs run again elsewhere."""
        self.interrupted = True
        self.signal(signal.SIGINT if self.ready else signal.SIGKILL)
        self.expect_end()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that is gone does not mind."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def expect_end(self, grace_s: float = _EXIT_GRACE_S) -> None:
        """It was told to end: kill it if its exit hooks take longer than this."""
        asyncio.get_running_loop().call_later(grace_s, self.signal, signal.SIGKILL)

    def terminate(self, grace_s: float) -> None:
        """Ask a server to end; it gets at least as long as any container."""
        self.stopping = True
        self.signal(signal.SIGTERM)
        self.expect_end(max(grace_s, _EXIT_GRACE_S))

    async def stop(self, grace_s: float) -> None:
        """End it: idle ones by themselves (their exit hooks run), busy ones by SIGINT, then SIGKILL."""
        self.stopping = self.retiring = True
        self.pool.dismiss(self)
        if not self.ready:
            self.signal(signal.SIGKILL)
        elif self.running:
            self.signal(signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.gone.wait()
        self.signal(signal.SIGKILL)
        await self.gone.wait()


@dataclass
class ContainerFactory:
    """Starts containers and notices when they end.

    Attributes:
        open_socket: Opens the Unix socket on which one container talks to the plane.
        adopt_socket: Serves one of the plane's ports inside a container's own network.
        starting: Told of the function before one of its containers starts.
        listen_ports: The plane's ports that a container with an own network must reach.
    """

    run: Path
    sockets: Path
    isolation: Isolation
    worlds: Worlds
    open_socket: Callable[[Container, Path], Awaitable[RpcServer]]
    adopt_socket: Callable[[socket.socket, int], Awaitable[None]]
    starting: Callable[[FunctionEntry], None]
    listen_ports: list[int] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    _links: Links = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _count: int = 0

    def __post_init__(self) -> None:
        self._links = Links(self.run / "plain")

    def start(self, function: FunctionEntry, pool: ContainerPool) -> Container:
        """Start a container; it reports to ``pool`` when it is ready and when it ends."""
        self.starting(function)
        self._count += 1
        container = Container(function, pool, self.run / f"c{self._count}")
        self._keep(self._live(container))
        return container

    async def finish(self) -> None:
        """Wait until every container's folder is gone."""
        while self._tasks:
            await asyncio.wait(self._tasks)

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
        try:
            (container.folder / "scratch").mkdir(parents=True)
            (container.folder / "task").mkdir()
            server = await self.open_socket(container, self._socket(container))
            spec = await self._prepare(container)
            if not self.isolation.namespaces:
                layer = self._links.layer_targets(Path(spec["layer"]))
                binds = ((bind["target"], bind["source"]) for bind in spec["binds"])
                links = self._links.make([*layer, *binds])
            code = await self._run(container, spec, last_lines)
        except Exception as error:  # noqa: BLE001 - whoever waits for this container must hear of it
            _LOG.exception("The container of %r could not be started", container.function.name)
            last_lines.append(f"{type(error).__name__}: {error}")
        finally:
            self._links.drop(links)
            await self.worlds.close(container)
            if server is not None:
                server.close()
            if container.doorway is not None:
                container.doorway.close()
            container.gone.set()
            container.pool.ended(container, Ended(container.function.name, code, tuple(last_lines)))
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
            layer = self._links.plain_layer(world.layer)
        env = {
            **self.environment,
            **world.environment(str(layer) if not self.isolation.namespaces else ""),
            **_modal_variables(container, inside),
            **(proxy_variables() if function.own_network and self.isolation.namespaces else {}),
        }
        spec = self.isolation.spec(
            folder,
            layer,
            [world.python, "-m", _ENTRYPOINT],
            env,
            binds=world.binds,
            own_network=function.own_network,
        )
        if self.isolation.namespaces:
            own = {folder / "task": INSIDE, self._socket(container): f"{INSIDE}/plane.sock"}
            binds = [Bind(source=str(a), target=b, read_only=False) for a, b in own.items()]
            spec["binds"] = [*binds, *spec["binds"]]
            spec["cwd"] = world.workdir
        else:
            spec["env"]["MODAL_SERVER_URL"] = f"unix://{self._socket(container)}"
        return spec

    async def _run(self, container: Container, spec: ContainerSpec, last_lines: deque[str]) -> int:
        """Start the process, pass its output on, and wait for its end."""
        theirs: socket.socket | None = None
        if spec["own_network"]:
            spec["listen_ports"] = [
                port
                for port in self.listen_ports
                if port != PROXY_PORT or not container.function.definition.block_network
            ]
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            container.doorway = Doorway(ours)
            spec["control_fd"] = theirs.fileno()
        path = container.folder / "spec.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(spec))
        process = await asyncio.create_subprocess_exec(
            *launcher_command(path),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=[theirs.fileno()] if theirs is not None else [],
            start_new_session=True,
        )
        container.process = process
        if theirs is not None and container.doorway is not None:
            theirs.close()
            self._keep(self._adopt_listeners(container.doorway, spec["listen_ports"]))
        if container.stopping or container.startup_result is not None:
            container.signal(signal.SIGKILL)
        self._say(container, api.TASK_STATE_CREATING_CONTAINER)
        pumps = (
            _pump(container, process.stdout, last_lines, stderr=False),
            _pump(container, process.stderr, last_lines, stderr=True),
        )
        await asyncio.gather(*pumps)
        code = await process.wait()
        self._say(container, api.TASK_STATE_COMPLETED)
        return code if code >= 0 else 128 - code

    async def _adopt_listeners(self, doorway: Doorway, ports: list[int]) -> None:
        """Serve the plane's own ports inside a container's network."""
        with contextlib.suppress(OSError):
            listeners = await doorway.listeners(len(ports))
            for listener, port in zip(listeners, ports, strict=True):
                await self.adopt_socket(listener, port)

    @staticmethod
    def _say(container: Container, state: api.TaskState.ValueType) -> None:
        container.function.app.log.task_state(
            state, task_id=container.id, function_id=container.function.id
        )


def _modal_variables(container: Container, inside: str) -> dict[str, str]:
    function = container.function
    return {
        "MODAL_SERVER_URL": f"unix://{inside}/plane.sock",
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
    stream: asyncio.StreamReader | None,
    last_lines: deque[str],
    *,
    stderr: bool,
) -> None:
    """Copy one of a container's output streams to its app's log."""
    if stream is None:
        return
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
