"""Apps' logs as lines, as they come: for the dashboard's page and `modalkit local logs`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from ..apps.apps import App
from ..protocol import api

__all__ = ["Line", "follow", "tail"]

_LOOK_S = 0.5
_KINDS = {api.FILE_DESCRIPTOR_STDERR: "stderr", api.FILE_DESCRIPTOR_INFO: "note"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an app's log.

    Attributes:
        at: Seconds since the epoch.
        kind: ``stdout``, ``stderr``, or ``note`` for the local Modal's own words.
    """

    app: str
    at: float
    kind: str
    text: str


class _Assembly:
    """Puts lines together from the pieces in which containers print them."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._open: dict[tuple[str, int], str] = {}

    def add(self, batch: api.TaskLogsBatch) -> list[Line]:
        """Take a batch; return the lines that are whole now."""
        lines = []
        for item in batch.items:
            key = (batch.task_id, item.file_descriptor)
            *whole, rest = (self._open.pop(key, "") + item.data).split("\n")
            if rest:
                self._open[key] = rest
            kind = _KINDS.get(item.file_descriptor, "stdout")
            # Of a progress bar, which returns to its line's beginning, the last state counts.
            texts = (text.rstrip("\r").rpartition("\r")[2] for text in whole)
            lines += [Line(self._app.label, item.timestamp, kind, text) for text in texts]
        return lines

    def rest(self, at: float) -> list[Line]:
        """Return what was begun and not ended."""
        found = [Line(self._app.label, at, "stdout", text) for text in self._open.values()]
        self._open.clear()
        return found


def tail(app: App, count: int) -> list[Line]:
    """Return the last lines of an app's log."""
    assembly, lines, at = _Assembly(app), [], 0.0
    for batch in app.log.tail(4 * count):
        lines += assembly.add(batch)
        at = batch.items[-1].timestamp
    lines += assembly.rest(at)
    return lines[-count:] if count else []


async def follow(apps: Callable[[], list[App]], count: int) -> AsyncGenerator[Line, None]:
    """Yield the last lines of each app's log and then every line that comes.

    Apps that start meanwhile are followed too. It goes on until the reader leaves.
    """
    queue: asyncio.Queue[Line] = asyncio.Queue(maxsize=10_000)
    readers: dict[str, asyncio.Task[None]] = {}
    try:
        while True:
            for app in apps():
                if app.id not in readers:
                    readers[app.id] = asyncio.create_task(_read(app, count, queue))
            try:
                async with asyncio.timeout(_LOOK_S):
                    line = await queue.get()
            except TimeoutError:
                continue
            yield line
    finally:
        for reader in readers.values():
            reader.cancel()


async def _read(app: App, count: int, queue: asyncio.Queue[Line]) -> None:
    kept = app.log.tail(4 * count) if count else app.log.tail(1)
    if count:
        for line in tail(app, count):
            await queue.put(line)
    last = kept[-1].entry_id if kept else ""
    assembly = _Assembly(app)
    while not app.log.done:
        async with aclosing(app.log.follow(last, within_s=60.0)) as batches:
            async for batch in batches:
                for line in assembly.add(batch):
                    await queue.put(line)
                last = batch.entry_id or last
