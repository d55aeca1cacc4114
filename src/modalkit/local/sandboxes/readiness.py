"""Readiness probes: a port that takes connections, or a command that succeeds."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from typing import TYPE_CHECKING

from ..containers.tunnels import connect
from ..waiting import Latch
from .commands import Order

if TYPE_CHECKING:
    from .sandbox import Sandbox

__all__ = ["Readiness"]


class Readiness:
    """Whether a sandbox's probe has succeeded; it is asked until it does once.

    Attributes:
        at: When it did, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.at: float | None = None
        self._reached = Latch()

    async def watch(self, sandbox: Sandbox) -> None:
        """Ask a sandbox's probe, as often as its client wants, until it succeeds."""
        probe = sandbox.definition.readiness_probe
        for number in itertools.count():
            if await (
                _accepts(sandbox, probe.tcp_port)
                if probe.HasField("tcp_port")
                else _succeeds(sandbox, [*probe.exec_command.argv], f"probe-{number}")
            ):
                break
            await asyncio.sleep(probe.interval_ms / 1000)
        self.at = time.time()
        self._reached.set()

    async def reached(self) -> None:
        """Wait until it has succeeded."""
        await self._reached.wait()


async def _accepts(sandbox: Sandbox, port: int) -> bool:
    try:
        _, writer = await connect(sandbox.container, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _succeeds(sandbox: Sandbox, argv: list[str], identity: str) -> bool:
    """Run the probe's command; what it prints goes nowhere, as nobody asks for it."""
    attendant = sandbox.attendant
    assert attendant is not None  # noqa: S101 - probes begin after the sandbox has
    order = Order(argv, sandbox.variables, sandbox.workdir, keep_stdout=False, keep_stderr=False)
    command = await attendant.start(identity, order)
    await command.ended.wait()
    attendant.forget(identity)
    return command.code == 0
