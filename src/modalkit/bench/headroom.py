"""Whether the generator was fast enough for what it measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from .._values import Value
from .percentiles import quantile

__all__ = ["Headroom", "HeadroomWatch"]

_LOOK_S = 0.02
_BUSY = 0.85
_LAG_MS = 5.0
_PER_LATENCY = 0.05


class Headroom(Value):
    """What the generator used of its own limits.

    Attributes:
        cpu_share: Share of one core; it has no more than one.
        loop_lag_p99_ms: How late its event loop saw to things, beyond the timer's own millisecond.
        send_lag_p99_ms: How long after they were due requests were sent. Latencies count from when
            they were due, so that they hold this lag.
        connections: Opened in this load.
    """

    cpu_share: float
    loop_lag_p99_ms: float
    send_lag_p99_ms: float
    connections: int

    def problem(self, latency_ms: float) -> str:
        """Say why the figures may be the generator's and not the endpoint's; empty if they are not.

        Args:
            latency_ms: The median of what was measured.
        """
        if self.cpu_share > _BUSY:
            return f"The generator used {self.cpu_share:.0%} of its core: the endpoint may be faster than this."
        lag = max(self.loop_lag_p99_ms, self.send_lag_p99_ms)
        if lag > max(_LAG_MS, _PER_LATENCY * latency_ms):
            return f"The generator was up to {lag:.0f} ms late (99 %): this machine is too busy for it."
        return ""


class HeadroomWatch:
    """Looks at this process while it loads something."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._task: asyncio.Task[None] | None = None
        self._cpu = self._wall = 0.0

    def start(self) -> None:
        """Begin."""
        self._late.clear()
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        if self._task is None:
            self._task = asyncio.create_task(self._look())

    def stop(self, sends: Sequence[tuple[float, float]], connections: int) -> Headroom:
        """End.

        Args:
            sends: When each request was due, and when it was sent.
            connections: Opened meanwhile.
        """
        cpu = time.process_time() - self._cpu
        wall = max(1e-6, time.perf_counter() - self._wall)
        self.cancel()
        lags = sorted(max(0.0, sent - due) for due, sent in sends) or [0.0]
        return Headroom(
            cpu_share=round(cpu / wall, 4),
            loop_lag_p99_ms=round(quantile(sorted(self._late) or [0.0], 0.99) * 1000, 3),
            send_lag_p99_ms=round(quantile(lags, 0.99) * 1000, 3),
            connections=connections,
        )

    def cancel(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _look(self) -> None:
        while True:
            due = time.perf_counter() + _LOOK_S
            await asyncio.sleep(_LOOK_S)
            self._late.append(max(0.0, time.perf_counter() - due - 0.001))
