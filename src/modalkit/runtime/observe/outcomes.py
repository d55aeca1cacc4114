"""What a call ended as: the words of metrics, logs and traces."""

from __future__ import annotations

from typing import Literal, get_args

from ...errors import DeadlineError, RequestError
from ..deadlines import cause

__all__ = ["OUTCOMES", "OUTCOME_OF_STREAM", "Outcome", "outcome"]

Outcome = Literal["ok", "error", "refused", "deadline", "cancelled"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
OUTCOME_OF_STREAM = "modalkit.outcome"
"""The key under which the last ASGI message of a stream that broke off tells the door as what it ended."""


def outcome(error: BaseException | None) -> Outcome:
    """Return what a call ended as.

    Args:
        error: What it raised, if anything. A full queue or a request that the method refuses is not the model's
            fault; what is neither an `Exception` nor a deadline is a caller who left.
    """
    if error is None:
        return "ok"
    kind = cause(error)
    if issubclass(kind, DeadlineError):
        return "deadline"
    if issubclass(kind, RequestError):
        return "refused"
    return "error" if issubclass(kind, Exception) else "cancelled"
