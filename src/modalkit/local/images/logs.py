"""The log of one build, followed line by line by whoever waits for it, and kept beside the image."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path

from ..protocol import api

__all__ = ["BuildLog", "kept_lines"]

_KEPT_LINES = 5_000
_SHORTEST_SECRET = 4


class BuildLog:
    """Lines of a build, numbered from 1; the oldest of more than 5,000 are dropped.

    Args:
        path: Where it is kept.
        secret: Values that must not appear in it.
    """

    def __init__(self, path: Path, secret: Iterable[str] = ()) -> None:
        self._path = path
        self._hidden = [value for value in secret if len(value) >= _SHORTEST_SECRET]
        self._lines: deque[api.TaskLogs] = deque(maxlen=_KEPT_LINES)
        self._written = 0
        self._grew = asyncio.Event()
        self.done = False

    def say(self, text: str) -> None:
        """Add a line."""
        for value in self._hidden:
            text = text.replace(value, "***")
        self._lines.append(_line(f"{text}\n", time.time()))
        self._written += 1
        self._wake()

    def finish(self) -> None:
        """Say that no line will follow, and write the log down."""
        self.done = True
        if self._path.parent.is_dir():
            kept = (json.dumps([line.timestamp, line.data]) + "\n" for line in self._lines)
            self._path.write_text("".join(kept), "utf-8")
        self._wake()

    @property
    def lines(self) -> list[api.TaskLogs]:
        """What is kept so far."""
        return list(self._lines)

    def tail(self, count: int) -> list[str]:
        """Return the last lines."""
        return [line.data.rstrip("\n") for line in list(self._lines)[-count:]]

    async def follow(self, after: int) -> AsyncGenerator[tuple[int, list[api.TaskLogs]], None]:
        """Yield lines as they come, each time with the number of the last one."""
        while True:
            grew = self._grew
            new = list(self._lines)[-(self._written - after) :] if after < self._written else []
            if new:
                after = self._written
                yield after, new
            elif self.done:
                return
            else:
                await grew.wait()

    def _wake(self) -> None:
        self._grew.set()
        self._grew = asyncio.Event()


def kept_lines(path: Path) -> Iterator[api.TaskLogs]:
    """Yield the lines of a build that is over, if its log was kept; a broken line is skipped."""
    text = path.read_text("utf-8", errors="replace") if path.exists() else ""
    for line in text.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            moment, data = json.loads(line)
            yield _line(data, moment)


def _line(text: str, moment: float) -> api.TaskLogs:
    return api.TaskLogs(data=text, timestamp=moment, file_descriptor=api.FILE_DESCRIPTOR_STDOUT)
