"""`Batch`: how the requests of one container are gathered into calls of a method."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Annotated, Literal, Self

from pydantic import Field, field_serializer, model_validator

from .._values import Value
from ..errors import DeclarationError

__all__ = ["Batch"]

# A queue that nobody bounded holds so many batches, and never fewer requests than the second number.
_QUEUED_BATCHES, _QUEUED_AT_LEAST = 16, 1024


class Batch(Value):
    """How requests of one container are gathered into one call of the method.

    ``.remote`` calls and HTTP requests wait in one queue. A container with a batched route takes more
    requests at once, so that there is something to gather; they may be for other routes too (see
    `endpoint`).

    Args:
        max_size: Most requests in a batch, 1 to 4096.
        max_wait_ms: Longest time that a request waits for company while the model is idle, in
            milliseconds; a lone request leaves at once. Default 5.
        adaptive: Wait no longer than a batch takes, and only for as many requests as there were
            lately; else until the batch is full or the oldest has waited ``max_wait_ms``. Default true.
        by: What requests of one batch must have in common: the name of a field, or a function of
            one request. Default: any go together.
        length: How long a request is: the name of a field or a function of one request, whose
            value is a number or has a ``len()``. Default: ``len()`` of the request.
        max_tokens: Most length of a batch, counted with its padding where ``pad`` is declared; a
            longer request goes alone. Default: no limit.
        pad: The model pads a batch to its longest request, so requests of near lengths go together:
            the largest share of a batch that may be padding, 0 to 1, or ``"auto"``, as much as pays,
            by what batches have cost so far. Default: none is padded.
        max_queue: Most requests waiting; more are refused with `errors.OverloadedError`, over HTTP
            429 with ``Retry-After``. Default: 16 batches, at least 1024.
        max_parallel_batches: Batches under way at once, for async and ``parallel`` methods.
            Default 1.
        deadline_ms: Longest time from a request's arrival to its answer, in milliseconds; then
            `errors.DeadlineError`, over HTTP 504. Default: none.
        on_error: ``"isolate"``: a batch that fails runs again in halves, so that only the requests
            that cause it fail. ``"fail"``: all of them do, and the method is not called again.
            Default ``"isolate"``.

    Raises:
        DeclarationError: A number out of range; a ``length`` that nothing uses.

    Examples:
        >>> Batch(64, by="language", max_wait_ms=2).max_size
        64
        >>> Batch(32, length="text", max_tokens=16_384, pad="auto").queue_limit
        1024
    """

    max_size: int = Field(ge=1, le=4096)
    max_wait_ms: float = Field(default=5.0, ge=0, le=60_000)
    adaptive: bool = True
    by: str | Callable[..., Hashable] | None = None
    length: str | Callable[..., object] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    pad: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] | None = None
    max_queue: int | None = Field(default=None, ge=1)
    max_parallel_batches: int = Field(default=1, ge=1, le=64)
    deadline_ms: float | None = Field(default=None, gt=0)
    on_error: Literal["isolate", "fail"] = "isolate"

    def __init__(
        self,
        max_size: int,
        *,
        max_wait_ms: float = 5.0,
        adaptive: bool = True,
        by: str | Callable[..., Hashable] | None = None,
        length: str | Callable[..., object] | None = None,
        max_tokens: int | None = None,
        pad: float | Literal["auto"] | None = None,
        max_queue: int | None = None,
        max_parallel_batches: int = 1,
        deadline_ms: float | None = None,
        on_error: Literal["isolate", "fail"] = "isolate",
    ) -> None:
        super().__init__(
            max_size=max_size,
            max_wait_ms=max_wait_ms,
            adaptive=adaptive,
            by=by,
            length=length,
            max_tokens=max_tokens,
            pad=pad,
            max_queue=max_queue,
            max_parallel_batches=max_parallel_batches,
            deadline_ms=deadline_ms,
            on_error=on_error,
        )

    @property
    def queue_limit(self) -> int:
        """Most requests waiting."""
        return self.max_queue or max(_QUEUED_AT_LEAST, _QUEUED_BATCHES * self.max_size)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.length is not None and self.max_tokens is None and self.pad is None:
            msg = (
                f"Batch(length={_shown(self.length)!r}) is used by nothing. Write max_tokens=..., or "
                "pad=0.25 where the model pads a batch to its longest request."
            )
            raise DeclarationError(msg)
        return self

    @field_serializer("by", "length", when_used="json")
    def _as_name(self, given: str | Callable[..., object] | None) -> str | None:
        return None if given is None else _shown(given)


def _shown(given: str | Callable[..., object]) -> str:
    return given if isinstance(given, str) else getattr(given, "__qualname__", repr(given))
