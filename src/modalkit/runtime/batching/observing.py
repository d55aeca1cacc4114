"""The one place where metrics and traces look into a queue: what they are told, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["BatchObserver", "BatchRecord", "Passage"]


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One batch, when it has ended.

    Attributes:
        route: The method's name.
        size: Requests in it.
        prepare_s: Seconds that ``prepare`` took; 0 without one.
        model_s: Seconds from the method's turn to its return.
        failed: Requests of it that failed.
        waiting: Requests that wait now.
        length: How long its requests were together, as the batch measures them; 0 where it does not.
    """

    route: str
    size: int
    prepare_s: float
    model_s: float
    failed: int
    waiting: int
    length: int = 0


@dataclass(frozen=True, slots=True)
class Passage:
    """One request's way through the queue, told in the context of its caller.

    Attributes:
        route: The method's name.
        arrived: When it came, on the clock of ``time.monotonic()``, in seconds.
        left: When its batch left the queue.
        size: Requests in that batch.
    """

    route: str
    arrived: float
    left: float
    size: int


class BatchObserver(Protocol):
    """Told by every `Batcher` it is given to, on the event loop; it must return at once."""

    def batch_ended(self, record: BatchRecord) -> None:
        """A batch has ended, whatever its outcome."""

    def answered(self, passage: Passage) -> None:
        """A request that was in a batch is answered or has failed; called in its caller's context."""

    def refused(self, route: str, reason: Literal["overloaded", "deadline"]) -> None:
        """A request was refused or given up before it was answered."""
