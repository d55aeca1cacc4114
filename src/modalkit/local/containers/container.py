"""One container, and what it is doing; `factory.py` starts it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..ids import new_id
from ..processes.doorways import Doorway
from ..processes.launcher import LaunchedProcess
from ..processes.memory import memory_below
from ..protocol import api
from ..waiting import Latch
from .gpus import Lease

if TYPE_CHECKING:
    from ..apps.functions import FunctionEntry
    from ..calls.calls import Input
    from .pools import ContainerPool

__all__ = ["Container", "Ended"]

_EXIT_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container's process ended.

    Attributes:
        code: As a shell says it.
        memory_limit_mib: The limit that the kernel killed it for, or 0.
    """

    function: str
    code: int
    last_lines: tuple[str, ...]
    memory_limit_mib: int = 0

    def as_result(self) -> api.GenericResult:
        """Say it to whoever waited for that container."""
        how = f"signal {self.code - 128}" if self.code > 128 else f"exit code {self.code}"  # noqa: PLR2004 - a shell's convention
        if self.memory_limit_mib:
            how += f": it ran out of memory, its limit is {self.memory_limit_mib} MiB"
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
        last_call: The id of the call whose input it began last.
        lease: The GPUs it has.
        phases: When its start got where, in seconds since ``started_at``: "process" (its launcher
            runs), "hello" (Modal's code runs), "ready".
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
    last_call: str = ""
    lease: Lease = field(default_factory=Lease)
    phases: dict[str, float] = field(default_factory=dict)
    startup_result: api.GenericResult | None = None
    doorway: Doorway | None = None
    process: LaunchedProcess | None = None
    started_at: float = field(default_factory=time.time)
    gone: Latch = field(default_factory=Latch)
    _to_cancel: set[str] = field(default_factory=set)
    _cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def namespace_pid(self) -> int | None:
        """A process of this machine that sees the container's mounts, while there is one."""
        running = self.process is not None and self.process.returncode is None
        return self.process.pid if self.process is not None and running else None

    @property
    def load(self) -> int:
        """How much it is doing."""
        return len(self.running) + self.connections

    @property
    def only_call(self) -> str:
        """The id of the call it works for, if that is only one; when idle, of its last.

        What an input printed at its end may be read only after its output has come.
        """
        calls = {entry.call.id for entry in self.running.values() if entry is not None}
        if not calls:
            return self.last_call
        return calls.pop() if len(calls) == 1 else ""

    @property
    def memory_bytes(self) -> int:
        """How much memory its processes have for themselves; what they share counts by its share."""
        return memory_below(self.process.pid) if self.process is not None else 0

    def reached(self, phase: str) -> None:
        """Note how long its start took to get here."""
        self.phases.setdefault(phase, time.time() - self.started_at)

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
        if self.process is not None:
            self.process.send_signal(number)

    def expect_end(self, grace_s: float = _EXIT_GRACE_S) -> None:
        """It was told to end: kill it if its exit hooks take longer than this."""
        asyncio.get_running_loop().call_later(grace_s, self._end_overdue, grace_s)

    def _end_overdue(self, grace_s: float) -> None:
        if self.running and not (self.stopping or self.interrupted):
            self.expect_end(grace_s)  # it finishes what it works on first
        else:
            self.signal(signal.SIGKILL)

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
