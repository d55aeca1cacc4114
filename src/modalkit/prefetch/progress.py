"""What is told while weights arrive: how far it is, how fast, and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from threading import Lock
from typing import Literal

__all__ = ["Meter", "Progress", "Stage"]

Stage = Literal["listing", "waiting", "checking", "fetching", "verified", "committing", "done"]
_WINDOW_S = 10.0
_ENOUGH_BYTES = 1 << 20  # below that the small files tell nothing about the large ones


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a model is.

    Attributes:
        model: Hub id.
        stage: What is being done.
        done_bytes: Bytes that are there, from earlier runs too.
        total_bytes: Bytes there will be.
        done_files: Files that are there and verified.
        total_files: Files there will be.
        fetched_bytes: Bytes that this run fetched.
        bytes_per_s: Rate of the last ten seconds.
        left_s: Seconds left at that rate; None while it is not known.
        note: A sentence for people, where there is one.
    """

    model: str
    stage: Stage
    done_bytes: int = 0
    total_bytes: int = 0
    done_files: int = 0
    total_files: int = 0
    fetched_bytes: int = 0
    bytes_per_s: float = 0.0
    left_s: float | None = None
    note: str = ""

    def at(self, stage: Stage) -> Progress:
        """Return the same at another stage."""
        return replace(self, stage=stage, note="")

    def as_dict(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return asdict(self)


class Meter:
    """Counts what several threads fetch.

    Args:
        model: Hub id.
        total_bytes: Bytes there will be.
        total_files: Files there will be.
    """

    def __init__(self, model: str, total_bytes: int, total_files: int) -> None:
        self._model, self._total_bytes, self._total_files = model, total_bytes, total_files
        self._kept = self._fetched = self._files = 0
        self._lock = Lock()
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def keep(self, count: int) -> None:
        """Count bytes that were there before."""
        with self._lock:
            self._kept += count

    def fetch(self, count: int) -> None:
        """Count bytes that have arrived."""
        with self._lock:
            self._fetched += count

    def lose(self, count: int) -> None:
        """Count bytes that had arrived and turned out to be of no use."""
        with self._lock:
            self._kept -= count

    def finish_file(self) -> None:
        """Count a file that is there and verified."""
        with self._lock:
            self._files += 1

    def now(self, stage: Stage, note: str = "") -> Progress:
        """Return how far it is."""
        with self._lock:
            kept, fetched, files = self._kept, self._fetched, self._files
        at = time.monotonic()
        self._seen.append((at, fetched))
        while at - self._seen[0][0] > _WINDOW_S and len(self._seen) > 2:  # noqa: PLR2004 - a first and a last
            self._seen.popleft()
        since, before = self._seen[0]
        rate = (fetched - before) / (at - since) if at > since else 0.0
        left = self._total_bytes - kept - fetched
        return Progress(
            model=self._model,
            stage=stage,
            done_bytes=kept + fetched,
            total_bytes=self._total_bytes,
            done_files=files,
            total_files=self._total_files,
            fetched_bytes=fetched,
            bytes_per_s=rate,
            left_s=left / rate if fetched - before >= _ENOUGH_BYTES else None,
            note=note,
        )
