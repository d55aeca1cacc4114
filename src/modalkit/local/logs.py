"""What containers print, kept in order for whoever follows it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from .protocol import api

__all__ = ["AppLog"]

_KEPT_BATCHES = 20_000


@dataclass
class AppLog:
    """The log of one app, as the protocol's batches; the oldest are dropped beyond 20,000."""

    done: bool = False
    _batches: deque[api.TaskLogsBatch] = field(default_factory=lambda: deque(maxlen=_KEPT_BATCHES))
    _written: int = 0
    _grew: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, text: str, *, task_id: str, function_id: str, stderr: bool) -> None:
        """Add a piece of a container's output."""
        descriptor = api.FILE_DESCRIPTOR_STDERR if stderr else api.FILE_DESCRIPTOR_STDOUT
        item = api.TaskLogs(data=text, timestamp=time.time(), file_descriptor=descriptor)
        self._add(api.TaskLogsBatch(task_id=task_id, function_id=function_id, items=[item]))

    def task_state(self, state: api.TaskState.ValueType, *, task_id: str, function_id: str) -> None:
        """Say what a container is doing; the client's progress line shows it."""
        item = api.TaskLogs(task_state=state, timestamp=time.time())
        self._add(api.TaskLogsBatch(task_id=task_id, function_id=function_id, items=[item]))

    def finish(self) -> None:
        """Say that nothing more will come."""
        self.done = True
        self._wake()

    async def follow(
        self, last_entry_id: str, within_s: float
    ) -> AsyncGenerator[api.TaskLogsBatch, None]:
        """Yield batches after ``last_entry_id`` until the log is done or ``within_s`` seconds pass."""
        seen = int(last_entry_id.split("-", 1)[0]) if last_entry_id else 0
        deadline = time.monotonic() + within_s
        while True:
            grew, written, done = self._grew, self._written, self.done
            for batch in self._after(seen):
                yield batch
            seen = written
            if done:
                yield api.TaskLogsBatch(app_done=True)
                return
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            try:
                async with asyncio.timeout(remaining):
                    await grew.wait()
            except TimeoutError:
                return

    def tail(self, count: int) -> list[api.TaskLogsBatch]:
        """Return the newest batches, oldest of them first."""
        return list(self._batches)[-count:]

    def _after(self, seen: int) -> list[api.TaskLogsBatch]:
        fresh = min(self._written - seen, len(self._batches))
        return [self._batches[position] for position in range(-fresh, 0)]

    def _add(self, batch: api.TaskLogsBatch) -> None:
        self._written += 1
        batch.entry_id = f"{self._written}-0"
        self._batches.append(batch)
        self._wake()

    def _wake(self) -> None:
        self._grew.set()
        self._grew = asyncio.Event()
