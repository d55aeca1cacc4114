"""What is counted and traced of every call of a method, over HTTP and ``.remote`` alike."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Any, Protocol

from .outcomes import OUTCOMES, outcome
from .registry import UNCOUNTED, Registry
from .tracing import Tracing

__all__ = ["CallMetrics", "MethodWatch"]

_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = tuple(2.0**power for power in range(13))

_Calling = Callable[..., Awaitable[Any]]


class CallMetrics:
    """The metrics of a service's methods.

    Args:
        registry: Where they are shown.
    """

    def __init__(self, registry: Registry) -> None:
        self.calls = registry.counter(
            "calls_total", "Calls of a method that have ended.", ("method", "outcome")
        )
        self.refused = registry.counter(
            "calls_refused_total", "Calls that no model ever saw.", ("method", "reason")
        )
        self.in_flight = registry.gauge("calls_in_flight", "Calls under way.", ("method",))
        self.waiting = registry.gauge("queue_length", "Requests waiting for a batch.", ("method",))
        self.queue = registry.histogram(
            "queue_seconds", "From a call to its turn at the model.", _BOUNDS_S, ("method",)
        )
        self.model = registry.histogram(
            "model_seconds",
            "One run of a method, a batch or a single call.",
            _BOUNDS_S,
            ("method",),
        )
        self.batch = registry.histogram("batch_size", "Requests in a batch.", _SIZES, ("method",))
        self.tokens = registry.counter(
            "batch_tokens_total", "Length of the requests in batches.", ("method",)
        )
        self.before_page = registry.before_page


class BatchRecord(Protocol):
    """What is told of a batch that has ended."""

    @property
    def size(self) -> int:
        """Requests in it."""

    @property
    def model_s(self) -> float:
        """Seconds the method took."""

    @property
    def waiting(self) -> int:
        """Requests that wait now."""

    @property
    def length(self) -> int:
        """How long its requests were together; 0 where nobody measures them."""


class Passage(Protocol):
    """What is told of a request's way through a queue, on the clock of ``time.monotonic()``."""

    @property
    def arrived(self) -> float:
        """When it came."""

    @property
    def left(self) -> float:
        """When its batch left the queue."""

    @property
    def size(self) -> int:
        """Requests in that batch."""


class MethodWatch:
    """Watches one method: a context manager around each call of it.

    Args:
        service: The class it belongs to, for the names of spans.
        method: Its name.
        metrics: Where it is counted.
        tracing: Makes its spans. Default: none.
        failed: Told of each call that failed. Default: nobody.
    """

    def __init__(
        self,
        service: str,
        method: str,
        metrics: CallMetrics,
        tracing: Tracing | None = None,
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._span = f"{service}.{method}"
        self._tracing = tracing
        self._failed = failed
        self._in_flight = metrics.in_flight(method)
        self._queue, self._model = metrics.queue(method), metrics.model(method)
        # Only a method that has batches has these.
        self._batch = functools.partial(metrics.batch, method)
        self._waiting = functools.partial(metrics.waiting, method)
        self._tokens = functools.partial(metrics.tokens, method)
        self._ended = {word: metrics.calls(method, word) for word in OUTCOMES}
        self._refused = functools.partial(metrics.refused, method)
        # Seconds of calls that were answered and are not counted yet.
        self._took: list[float] = []
        metrics.before_page(self._settle)

    # ── every call ─────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> None:
        self._in_flight.value += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._in_flight.value -= 1
        ended_as = outcome(error)
        self._ended[ended_as].value += 1
        if error is not None and ended_as == "error" and self._failed is not None:
            self._failed(error)

    def around(self, call: _Calling) -> _Calling:
        """Return a method's coroutine function, watched."""
        tracing = self._tracing

        async def watched(*arguments: object, **keywords: object) -> Any:
            with self:
                return await call(*arguments, **keywords)

        async def traced(*arguments: object, **keywords: object) -> Any:
            assert tracing is not None  # noqa: S101 - else it is not what is returned
            with tracing.span(self._span), self:
                return await call(*arguments, **keywords)

        return traced if tracing else watched

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Watch a block that is one call."""
        with self._tracing.span(self._span) if self._tracing else nullcontext(), self:
            yield

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Watch a block that is one answer in pieces: the model's time is until the last of them."""
        began = time.monotonic()
        with self.calling():
            try:
                yield
            finally:
                ended = time.monotonic()
                self._model.observe(ended - began)
                if self._tracing is not None:
                    self._tracing.past("model", began, ended)

    # ── a call that is no batch's ──────────────────────────────────────────────────────────────

    def alone(self, run: _Calling, method: Callable[..., Any]) -> _Calling:
        """Return what calls a method by itself, its wait for a turn told from its run.

        Args:
            run: Calls a function, in a thread or once it is its turn.
            method: The method.
        """

        async def call(*arguments: object, **keywords: object) -> Any:
            turn = _Turn(method)
            try:
                return await run(turn, *arguments, **keywords)
            finally:
                if turn.ended:
                    self._had(turn.arrived, turn.began, turn.ended)

        return call

    def at_once(self, method: _Calling) -> _Calling:
        """Return an async method, which waits for no turn, watched: `around` is in it."""
        if self._tracing is not None:
            return self.around(self._timed(method))
        # The same as with `around`, in one frame, and an answer is counted later: a small service's
        # whole request is not much more.
        in_flight, took, now = self._in_flight, self._took, time.monotonic

        async def call(*arguments: object, **keywords: object) -> Any:
            in_flight.value += 1
            began = now()
            try:
                answer = await method(*arguments, **keywords)
            except BaseException as error:
                self._model.observe(now() - began)
                self.__exit__(type(error), error, None)
                raise
            took.append(now() - began)
            if len(took) >= UNCOUNTED:
                self._settle()
            return answer

        return call

    def _settle(self) -> None:
        """Count the calls that `at_once` has seen answered."""
        count = len(self._took)
        self._in_flight.value -= count
        self._ended["ok"].value += count
        for seconds in self._took:
            self._model.observe(seconds)
        self._took.clear()

    def _timed(self, method: _Calling) -> _Calling:
        async def call(*arguments: object, **keywords: object) -> Any:
            began = time.monotonic()
            try:
                return await method(*arguments, **keywords)
            finally:
                self._had(began, began, time.monotonic())

        return call

    def _had(self, arrived: float, began: float, ended: float) -> None:
        self._queue.observe(began - arrived)
        self._model.observe(ended - began)
        if self._tracing is not None:
            self._tracing.past("queue", arrived, began)
            self._tracing.past("model", began, ended)

    # ── batches: `modalkit.runtime.batching` tells of them ─────────────────────────────────────

    def batch_ended(self, record: BatchRecord) -> None:
        """A batch has ended, whatever its outcome."""
        self._batch().observe(record.size)
        self._model.observe(record.model_s)
        self._waiting().value = record.waiting
        if record.length:
            self._tokens().value += record.length

    def answered(self, passage: Passage) -> None:
        """A request of a batch is answered or has failed; called in its caller's context."""
        self._queue.observe(passage.left - passage.arrived)
        if self._tracing is not None:
            size = {"modalkit.batch_size": passage.size}
            self._tracing.past("queue", passage.arrived, passage.left)
            self._tracing.past("model", passage.left, time.monotonic(), **size)

    def refused(self, route: str, reason: str) -> None:  # noqa: ARG002 - it watches one method
        """A request was refused, or given up before it was answered."""
        self._refused(reason).value += 1


class _Turn:
    """A method on its way to a thread, and when it was called, began and ended there."""

    __slots__ = ("__qualname__", "_method", "arrived", "began", "ended")

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.__qualname__ = method.__qualname__
        self.arrived = time.monotonic()
        self.began = self.ended = 0.0

    def __call__(self, *arguments: object, **keywords: object) -> Any:
        self.began = time.monotonic()
        try:
            return self._method(*arguments, **keywords)
        finally:
            self.ended = time.monotonic()
