"""Continuous batching: one generator whose requests join and leave between its steps."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from ...declare.batches import Batch
from ...declare.live_batches import LiveBatch, LiveItem
from ...errors import BatchError, DeadlineError, OverloadedError
from .observing import BatchObserver, BatchRecord, Passage
from .outcome import own_error

__all__ = ["LiveBatcher", "Steps"]


class Steps:
    """A generator method as steps to await.

    Args:
        begin: Makes the generator for a batch.
        step: Runs it to its next ``yield``; raises StopAsyncIteration at its end.
        close: Ends it early.
    """

    def __init__(
        self,
        begin: Callable[[LiveBatch[Any, Any]], Any],
        step: Callable[[Any], Awaitable[None]],
        close: Callable[[Any], Awaitable[None]],
    ) -> None:
        self.begin, self.step, self.close = begin, step, close


class _Caller(LiveItem[Any, Any]):
    """A request and the caller who waits for its pieces."""

    def __init__(self, request: Any, arrived: float) -> None:
        super().__init__(request)
        self.arrived = arrived
        self.joined_at = 0.0
        self.together = 0
        self._ready: deque[Any] = deque()
        self._ended = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def deliver(self) -> None:
        """Hand over what the last step sent."""
        sent, error = self.take()
        self._ready.extend(sent)
        if self.is_over:
            self.end(error)
        elif sent:
            self._wake()

    def end(self, error: Exception | None = None) -> None:
        if not self._ended:
            self._ended, self._failure, self._is_over = True, error, True
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def pieces(self) -> AsyncIterator[Any]:
        while True:
            while self._ready:
                yield self._ready.popleft()
            if self._ended:
                if self._failure is not None:
                    raise self._failure
                return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


class LiveBatcher:
    """A queue in front of a generator method that takes a `LiveBatch`.

    The generator stays where its last ``yield`` was while nobody asks, so that what it keeps, keeps. If
    it ends or fails, whoever is in it gets an error, and the next request begins a new one.

    Args:
        name: The method's name, for messages.
        steps: The method.
        batch: The limits; ``by``, ``length`` and ``prepare`` are for batches of whole answers.
        observer: Is told what happens. Default: nobody.
    """

    def __init__(
        self, name: str, steps: Steps, batch: Batch, observer: BatchObserver | None = None
    ) -> None:
        self._name, self._steps, self._batch, self._observer = name, steps, batch, observer
        self._live: LiveBatch[Any, Any] = LiveBatch(batch.max_size)
        self._generator: Any = None
        self._queue: deque[_Caller] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, request: Any) -> AsyncIterator[Any]:
        """Yield the pieces of one answer; a caller that closes it early leaves the batch.

        Raises:
            OverloadedError: The queue is full.
            DeadlineError: It did not end in time.
            BatchError: The generator ended before it finished this request.
            Exception: Whatever the generator raised, or failed this request with.
        """
        loop = asyncio.get_running_loop()
        if len(self._queue) >= self._batch.queue_limit:
            self._refused("overloaded")
            raise OverloadedError(self._name, len(self._queue), 1)
        caller = _Caller(request, time.monotonic())
        self._queue.append(caller)
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        limit = self._batch.deadline_ms
        timer = loop.call_later(limit / 1000, self._expire, caller, limit) if limit else None
        try:
            async for piece in caller.pieces():
                yield piece
        finally:
            if timer is not None:
                timer.cancel()
            self._leave(caller)

    async def close(self) -> None:
        """End the generator where it is."""
        generator, self._generator = self._generator, None
        if generator is not None:
            await self._steps.close(generator)

    async def _work(self) -> None:
        try:
            while self._queue or any(not item.is_over for item in self._live):
                if self._generator is None:
                    self._generator = self._steps.begin(self._live)
                self._live.turn(*self._joining(time.monotonic()))
                began = time.monotonic()
                await self._step()
                self._tell(time.monotonic() - began)
        except asyncio.CancelledError:
            self._end_everyone(BatchError(f"{self._name} was stopped."))
            for caller in self._queue:
                caller.end(BatchError(f"{self._name} was stopped."))
            self._queue.clear()
            raise
        finally:
            self._worker = None

    def _joining(self, now: float) -> list[_Caller]:
        room = self._live.max_size - sum(not item.is_over for item in self._live)
        joining = [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
        for caller in joining:
            caller.joined_at = now
            caller.together = len(self._live) + len(joining)
        return joining

    async def _step(self) -> None:
        try:
            await self._steps.step(self._generator)
        except StopAsyncIteration:
            self._generator = None
            for caller in self._callers():
                caller.deliver()
            self._end_everyone(BatchError(f"{self._name} ended before it finished every request."))
        except Exception as error:  # noqa: BLE001 - it belongs to the callers, whatever it is
            self._generator = None
            self._end_everyone(error)
        else:
            for caller in self._callers():
                caller.deliver()

    def _callers(self) -> list[_Caller]:
        return [item for item in self._live if isinstance(item, _Caller)]

    def _end_everyone(self, error: Exception) -> None:
        for caller in self._callers():
            caller.end(own_error(error))
        self._live = LiveBatch(self._batch.max_size)

    def _leave(self, caller: _Caller) -> None:
        with suppress(ValueError):
            self._queue.remove(caller)
        caller.finish()
        if self._observer is not None and caller.joined_at:
            passage = Passage(self._name, caller.arrived, caller.joined_at, caller.together)
            self._observer.answered(passage)

    def _expire(self, caller: _Caller, deadline_ms: float) -> None:
        self._refused("deadline")
        caller.end(DeadlineError(self._name, deadline_ms))

    def _refused(self, reason: Any) -> None:
        if self._observer is not None:
            self._observer.refused(self._name, reason)

    def _tell(self, seconds: float) -> None:
        """A step is what its observer is told as a batch."""
        if self._observer is not None:
            size, waiting = len(self._live), len(self._queue)
            self._observer.batch_ended(BatchRecord(self._name, size, 0.0, seconds, 0, waiting))
