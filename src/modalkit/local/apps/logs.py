"""What containers print, kept in order for whoever follows or searches it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field

from ..protocol import api
from .log_files import LogFile

__all__ = ["AppLog", "LogFilter"]

_KEPT_BATCHES = 20_000
_KEPT_CHARACTERS = 16 * 1024 * 1024
_AFTER_S = 0.001


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which entries somebody wants; an empty field wants all.

    Attributes:
        since: Seconds since the epoch, included.
        until: Seconds since the epoch, excluded; 0 is no limit.
    """

    function_id: str = ""
    call_id: str = ""
    task_id: str = ""
    source: api.FileDescriptor.ValueType = api.FILE_DESCRIPTOR_UNSPECIFIED
    text: str = ""
    since: float = 0.0
    until: float = 0.0

    def wants(self, batch: api.TaskLogsBatch) -> bool:
        """Return whether a batch (of one entry) passes."""
        if self.function_id and batch.function_id != self.function_id:
            return False
        if self.task_id and batch.task_id != self.task_id:
            return False
        return any(self._wants_item(item) for item in batch.items)

    def _wants_item(self, item: api.TaskLogs) -> bool:
        return (
            (not self.call_id or item.function_call_id == self.call_id)
            and (not self.source or item.file_descriptor == self.source)
            and self.text in item.data
            and self.since <= item.timestamp
            and (not self.until or item.timestamp < self.until)
        )


@dataclass
class AppLog:
    """The log of one app, as the protocol's batches of one entry each.

    In memory the oldest are dropped beyond 20,000 or 16 million characters; a deployed app's is also
    kept on disk.
    """

    done: bool = False
    _batches: deque[api.TaskLogsBatch] = field(default_factory=deque)
    _written: int = 0
    _characters: int = 0
    _grew: asyncio.Event = field(default_factory=asyncio.Event)
    _file: LogFile | None = None
    _unread: bool = False

    @classmethod
    def of(cls, lines: Iterable[api.TaskLogs]) -> AppLog:
        """Return a log that has these lines and gets no more."""
        log = cls()
        for line in lines:
            log._number(api.TaskLogsBatch(items=[line]))
        log.finish()
        return log

    def keep_in(self, file: LogFile) -> None:
        """Write to disk from now on; what is there already is read when somebody asks for it."""
        if self._file is None:
            self._file = file
            self._unread = self._written == 0
            for batch in list(self._batches):
                self._keep(batch)

    def remove(self) -> None:
        """Take the log off the disk; it stays in memory."""
        self._load()
        if self._file is not None:
            self._file.remove()
            self._file = None

    def write(
        self, text: str, *, task_id: str, function_id: str, stderr: bool, call_id: str = ""
    ) -> None:
        """Add a piece of a container's output; ``call_id`` where only one call can have made it."""
        descriptor = api.FILE_DESCRIPTOR_STDERR if stderr else api.FILE_DESCRIPTOR_STDOUT
        self._write(text, descriptor, task_id=task_id, function_id=function_id, call_id=call_id)

    def remark(self, text: str, *, function_id: str = "") -> None:
        """Add a line of the local Modal's own."""
        self._write(f"{text}\n", api.FILE_DESCRIPTOR_INFO, function_id=function_id)

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
        self._load()
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

    def select(self, wanted: LogFilter) -> Iterator[api.TaskLogsBatch]:
        """Yield the entries that were printed and pass a filter, oldest first."""
        self._load()
        return (batch for batch in self._batches if batch.items[0].data and wanted.wants(batch))

    def knows(self, task_id: str) -> bool:
        """Return whether there is anything of a container."""
        self._load()
        return any(batch.task_id == task_id for batch in reversed(self._batches))

    def span_of(self, task_id: str) -> tuple[float, float]:
        """Return the times just before the first and just after the last entry of a container."""
        times = [batch.items[0].timestamp for batch in self._batches if batch.task_id == task_id]
        return min(times), max(times) + _AFTER_S

    def tail(self, count: int, wanted: LogFilter | None = None) -> list[api.TaskLogsBatch]:
        """Return the newest entries that pass a filter, oldest of them first."""
        return list(self.select(wanted or LogFilter()))[-count:]

    def _after(self, seen: int) -> list[api.TaskLogsBatch]:
        fresh = min(self._written - seen, len(self._batches))
        return [self._batches[position] for position in range(-fresh, 0)]

    def _load(self) -> None:
        """Read what earlier planes left; what this one wrote is among it."""
        if self._unread and self._file is not None:
            self._unread = False
            for batch in self._file.read():
                self._number(batch)

    def _write(
        self,
        text: str,
        descriptor: api.FileDescriptor.ValueType,
        *,
        function_id: str,
        task_id: str = "",
        call_id: str = "",
    ) -> None:
        item = api.TaskLogs(
            data=text,
            timestamp=time.time(),
            file_descriptor=descriptor,
            function_call_id=call_id,
        )
        self._add(api.TaskLogsBatch(task_id=task_id, function_id=function_id, items=[item]))

    def _add(self, batch: api.TaskLogsBatch) -> None:
        self._keep(batch)
        if not self._unread:
            self._number(batch)
        self._wake()

    def _keep(self, batch: api.TaskLogsBatch) -> None:
        """Write a batch to disk; when that fails the log goes on in memory and says so."""
        if self._file is None:
            return
        try:
            self._file.append(batch)
        except OSError as error:
            self._load()
            self._file = None
            self.remark(f"This log is no longer kept on disk: {error}.")

    def _number(self, batch: api.TaskLogsBatch) -> None:
        self._written += 1
        batch.entry_id = f"{self._written}-0"
        self._batches.append(batch)
        self._characters += _length(batch)
        while len(self._batches) > 1 and (
            len(self._batches) > _KEPT_BATCHES or self._characters > _KEPT_CHARACTERS
        ):
            self._characters -= _length(self._batches.popleft())

    def _wake(self) -> None:
        self._grew.set()
        self._grew = asyncio.Event()


def _length(batch: api.TaskLogsBatch) -> int:
    return sum(len(item.data) for item in batch.items)
