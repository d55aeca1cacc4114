"""A deployed app's log on disk, so that it can be read after a restart.

Two files of JSON lines; when the newer one is full it takes the older one's place. Several planes
may append to the same log at once: each line is one write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..protocol import api

__all__ = ["LogFile"]

_FULL_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class LogFile:
    """The last 4 to 8 MiB of one app's log.

    Attributes:
        folder: Made when the first line is written.
    """

    folder: Path

    def append(self, batch: api.TaskLogsBatch) -> None:
        """Add what a batch says; states of containers are not kept."""
        lines = [_line(batch, item) for item in batch.items if item.data]
        if not lines:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._newer.open("ab") as file:
            file.write("".join(lines).encode())
            full = file.tell() > _FULL_BYTES
        if full:
            self._newer.replace(self._older)

    def read(self) -> Iterator[api.TaskLogsBatch]:
        """Yield what is there, oldest first; a line that a crash left unfinished is skipped."""
        for path in (self._older, self._newer):
            if path.exists():
                for line in path.read_text("utf-8", errors="replace").splitlines():
                    if (batch := _batch(line)) is not None:
                        yield batch

    def remove(self) -> None:
        """Forget the log."""
        for path in (self._older, self._newer):
            path.unlink(missing_ok=True)
        if self.folder.exists():
            self.folder.rmdir()

    @property
    def _newer(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def _older(self) -> Path:
        return self.folder / "log.1.jsonl"


def _line(batch: api.TaskLogsBatch, item: api.TaskLogs) -> str:
    entry = {
        "at": item.timestamp,
        "fd": item.file_descriptor,
        "task": batch.task_id,
        "function": batch.function_id,
        "call": item.function_call_id,
        "data": item.data,
    }
    return json.dumps(entry) + "\n"


def _batch(line: str) -> api.TaskLogsBatch | None:
    try:
        entry = json.loads(line)
        item = api.TaskLogs(
            data=entry["data"],
            timestamp=entry["at"],
            file_descriptor=entry["fd"],
            function_call_id=entry["call"],
        )
        return api.TaskLogsBatch(task_id=entry["task"], function_id=entry["function"], items=[item])
    except (ValueError, KeyError, TypeError):
        return None
