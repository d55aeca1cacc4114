"""Starts the processes of containers, and hears of their end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .isolation import launcher_command
from .launch import ContainerSpec
from .launch.control import ENDED, MESSAGE, PID, SIGNALS, SOCKET, VISIT, WANT_SOCKET
from .zygotes import Zygotes

__all__ = ["LaunchedProcess", "Launcher", "Streams", "read_from", "read_pipe"]

_KILLED = 128 + signal.SIGKILL
_ORDERS = {number: order for order, number in SIGNALS.items()}
_FORK_PATIENCE_S = 30.0
_KILL_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Streams:
    """File descriptors that a container gets as its standard streams; they stay the caller's."""

    stdin: int
    stdout: int
    stderr: int


class LaunchedProcess:
    """A container's processes, through the socket that their launcher shares with the plane.

    Attributes:
        pid: The launcher's id on this machine; it sees the container's mounts. 0 until it is known.
        returncode: As a shell would say it, or None while the container runs.
        lost: The launcher was killed, and could not say how the container ended.
    """

    def __init__(self, control: socket.socket) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self.lost = True
        self._control = control
        self._status = _KILLED
        self._known, self._gone = asyncio.Event(), asyncio.Event()
        self._sockets: deque[socket.socket] = deque()
        self._arrived = asyncio.Event()
        control.setblocking(False)
        asyncio.get_running_loop().add_reader(control, self._hear)

    async def started(self) -> bool:
        """Wait until the launcher runs; False if it never did."""
        await self._known.wait()
        return self.pid != 0

    async def wait(self) -> int:
        """Wait for the end and return the status: 128 and a signal's number if one was the cause."""
        await self._gone.wait()
        return self.returncode or 0

    def send_signal(self, number: signal.Signals) -> None:
        """Send the program SIGINT, SIGTERM or SIGKILL; one that is gone does not mind.

        The launcher passes it on. One that does not, because it was stopped itself, is killed a
        few seconds after SIGKILL was wanted, and everything it started goes with it.
        """
        self._order(_ORDERS[number])
        if number == signal.SIGKILL and self.returncode is None:
            asyncio.get_running_loop().call_later(_KILL_PATIENCE_S, self._end_launcher)

    def _end_launcher(self) -> None:
        # Its end of the socket is open, so the launcher is there and its id is no one else's.
        if self.returncode is None and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def network_socket(self, *, ask: bool = True) -> socket.socket:
        """Return a socket made in the container's own network.

        Args:
            ask: Ask for a new one; otherwise take the next listener that the launcher offers.

        Raises:
            ConnectionResetError: The container has ended.
        """
        if ask:
            self._order(WANT_SOCKET)
        while not self._sockets:
            if self.returncode is not None:
                message = "The container has ended."
                raise ConnectionResetError(message)
            self._arrived.clear()
            await self._arrived.wait()
        return self._sockets.popleft()

    def visit(self, channel: socket.socket) -> None:
        """Start the container's visitor with a socket as its standard input.

        Raises:
            OSError: The container has ended.
        """
        socket.send_fds(self._control, [VISIT], [channel.fileno()])

    def abandon(self) -> None:
        """Let go of the launcher: whatever it started ends."""
        self._end()

    def _order(self, order: bytes) -> None:
        if self.returncode is None:
            with contextlib.suppress(OSError):
                self._control.send(order)

    def _hear(self) -> None:
        """Take one message of the launcher's."""
        try:
            message, handed, _flags, _address = socket.recv_fds(self._control, MESSAGE.size, 1)
        except BlockingIOError:
            return
        except OSError:
            message, handed = b"", []
        if len(message) < MESSAGE.size:
            self._end()
            return
        kind, number = MESSAGE.unpack(message)
        if kind == PID:
            self.pid = number
            self._known.set()
        elif kind == ENDED:
            self._status, self.lost = number, False
        elif kind == SOCKET and handed:
            sock = socket.socket(fileno=handed[0])
            sock.set_inheritable(False)
            sock.setblocking(False)
            self._sockets.append(sock)
            self._arrived.set()

    def _end(self) -> None:
        if self.returncode is not None:
            return
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        self.returncode = self._status
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        for event in (self._known, self._gone, self._arrived):
            event.set()


class Launcher:
    """Runs programs in containers: forked from a zygote where there is one, else started afresh.

    Any program can be run, isolated, with streams of one's own; what it sees is in the spec::

        spec = isolation.spec(folder, layer, argv, env, binds=binds, own_network=False)
        process = await launcher.start(folder, spec, Streams(stdin, stdout, stderr))
        code = await process.wait()

    ``folder`` belongs to that container alone and is removed by the caller afterwards.
    """

    def __init__(self, zygotes: Zygotes) -> None:
        self._zygotes = zygotes
        self._fresh: set[asyncio.Task[int]] = set()

    async def prepare(self) -> None:
        """Load what most containers run, before the first is wanted."""
        await self._zygotes.prepare()

    async def start(self, folder: Path, spec: ContainerSpec, streams: Streams) -> LaunchedProcess:
        """Start a container's program.

        Raises:
            OSError: No process can be started.
        """
        path = folder / "spec.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(spec))
        handed = [streams.stdin, streams.stdout, streams.stderr]
        process = await self._fork(path, spec["argv"], handed)
        return process or await self._start_afresh(path, streams)

    async def finish(self) -> None:
        """End the zygotes, and collect what was started."""
        await self._zygotes.close()
        if self._fresh:
            await asyncio.wait(self._fresh)

    async def _fork(
        self, path: Path, argv: Sequence[str], handed: list[int]
    ) -> LaunchedProcess | None:
        """Let a zygote start it; None if none can."""
        zygote = await self._zygotes.find(argv)
        if zygote is None:
            return None
        ours, theirs = socket.socketpair()
        with theirs:
            asked = zygote.ask(path, [theirs.fileno(), *handed])
        process = LaunchedProcess(ours)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FORK_PATIENCE_S if asked else 0):
                if await process.started():
                    return process
        process.abandon()
        return None

    async def _start_afresh(self, path: Path, streams: Streams) -> LaunchedProcess:
        ours, theirs = socket.socketpair()
        with theirs:
            child = await asyncio.create_subprocess_exec(
                *launcher_command(path, str(theirs.fileno())),
                stdin=streams.stdin,
                stdout=streams.stdout,
                stderr=streams.stderr,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        collected = asyncio.get_running_loop().create_task(child.wait())
        self._fresh.add(collected)
        collected.add_done_callback(self._fresh.discard)
        process = LaunchedProcess(ours)
        await process.started()
        return process


async def read_pipe() -> tuple[asyncio.StreamReader, int]:
    """Open a pipe; return its reader and the descriptor to write to, which the caller closes."""
    read, write = os.pipe()
    return await read_from(read), write


async def read_from(descriptor: int) -> asyncio.StreamReader:
    """Return a reader of a pipe or terminal, which it closes at its end."""
    stream = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb", 0)
    )
    return stream
