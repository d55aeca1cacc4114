"""Processes that have loaded Modal's container code and fork where a container is wanted.

Loading it takes most of a cold start. A zygote (one per interpreter) has it loaded; a fork of it is
a container a few milliseconds later, and shares the memory that it does not change. ``launch/`` is
their side.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["CONTAINER_MODULE", "Zygote", "Zygotes"]

_LOG = logging.getLogger("modalkit.local")
_MOST = 4
_END_PATIENCE_S = 5.0

CONTAINER_MODULE = "modal._container_entrypoint"
"""The program of a function's container."""


class Zygote:
    """One zygote of one interpreter.

    Args:
        channel: Where it takes requests, as long as it lives.

    Attributes:
        ready: It has loaded everything.
    """

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self._process = process
        self._channel = channel
        self.ready = False
        channel.setblocking(False)
        asyncio.get_running_loop().add_reader(channel, self._hear)
        self.ended: asyncio.Task[int] = asyncio.get_running_loop().create_task(process.wait())

    def ask(self, spec: Path, handed: list[int]) -> bool:
        """Ask for a container; False if it cannot even be asked.

        Args:
            spec: The file that describes it.
            handed: The container's end of its control socket, and its three standard streams.
        """
        try:
            socket.send_fds(self._channel, [str(spec).encode()], handed)
        except OSError:
            return False
        return True

    async def close(self) -> None:
        """End it; containers that it forked go on."""
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_PATIENCE_S):
                await asyncio.shield(self.ended)
                return
        self._process.kill()
        await self.ended

    def _hear(self) -> None:
        said = b""
        with contextlib.suppress(OSError):
            said = self._channel.recv(1)
        self.ready = self.ready or bool(said)
        if not said:
            asyncio.get_running_loop().remove_reader(self._channel)


class Zygotes:
    """A plane's zygotes, started when they are first of use and again when they died.

    Args:
        environment: Variables that every container has and that Python reads when it starts.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = {**environment, "MODAL_IS_REMOTE": "1", "PYTHONUNBUFFERED": "1"}
        self._alive: dict[str, Zygote] = {}
        self._useless: set[str] = set() if sys.platform == "linux" else {sys.executable}
        self._turn = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def find(self, argv: Sequence[str]) -> Zygote | None:
        """Return a zygote for a command, or None if it has to be started afresh.

        One for this machine's own Python will do for any command that is not a container's: what it
        forks becomes that command.
        """
        python = argv[0] if list(argv[1:]) == ["-m", CONTAINER_MODULE] else sys.executable
        async with self._turn:
            if python in self._useless or sys.platform != "linux":
                return None
            if python not in self._alive:
                await self._start(python)
            self._alive[python] = self._alive.pop(python)  # the most recently used is the last
            return self._alive[python]

    async def prepare(self) -> None:
        """Start the zygote that most containers come from, before the first is wanted."""
        with contextlib.suppress(OSError):
            await self.find([sys.executable, "-m", CONTAINER_MODULE])

    async def close(self) -> None:
        """End them all."""
        async with self._turn:
            self._useless |= {*self._alive, sys.executable}
            await asyncio.gather(*(zygote.close() for zygote in list(self._alive.values())))
            if self._closing:
                await asyncio.wait(self._closing)

    async def _start(self, python: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        launch = Path(__file__).with_name("launch") / "__main__.py"
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(python, str(launch), "zygote", str(theirs.fileno()), CONTAINER_MODULE),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=None if _LOG.isEnabledFor(logging.DEBUG) else asyncio.subprocess.DEVNULL,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        zygote = Zygote(process, ours)
        self._alive[python] = zygote
        zygote.ended.add_done_callback(lambda _: self._ended(python, zygote))
        if len(self._alive) > _MOST:
            self._retire(next(iter(self._alive)))

    def _retire(self, python: str) -> None:
        closing = asyncio.get_running_loop().create_task(self._alive.pop(python).close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _ended(self, python: str, zygote: Zygote) -> None:
        """Forget one that died; an interpreter that cannot load Modal at all is not tried again."""
        if self._alive.get(python) is zygote:
            del self._alive[python]
            killed = zygote.ended.result() == -signal.SIGKILL
            if not zygote.ready and not killed:
                _LOG.debug("%s cannot be loaded ahead by %s", CONTAINER_MODULE, python)
                self._useless.add(python)
