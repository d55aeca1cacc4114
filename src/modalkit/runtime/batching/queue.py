"""The queue in front of one batched method of one container.

When the model is idle the first request leaves at once. While it runs, requests gather; when it is
free again the next batch leaves before the answers of the last one do, so that the model waits for
nobody's JSON. Everything happens on the event loop that `Batcher.submit` is called on.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ...declare.batches import Batch
from ...errors import BatchError, DeadlineError, OverloadedError
from .observing import BatchObserver, BatchRecord, Passage
from .outcome import outcomes, own_error
from .pace import Pace
from .packing import Measures, pack
from .padding import BatchCost

__all__ = ["Batcher"]

Req = TypeVar("Req")
Res = TypeVar("Res")


@dataclass(slots=True, eq=False)
class _Waiting:
    request: Any
    answer: asyncio.Future[Any]
    arrived: float
    key: Any = None
    length: int = 0
    left: float = 0.0
    size: int = 0


@dataclass(slots=True, eq=False)
class _Running:
    items: list[_Waiting]
    prepare_s: float = 0.0
    model_s: float = 0.0
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Batcher(Generic[Req, Res]):
    """A queue in front of a function from a list of requests to a list of answers.

    Args:
        name: The method's name, for messages.
        run: The function. What it raises reaches those that caused it, each with an error of its
            own where that can be copied (see `outcome`).
        batch: The limits.
        prepare: Makes of a batch what ``run`` takes as its second argument, while the batch before
            it runs. Default: none.
        takes_turns: ``run`` may be called while it runs, and waits for its own turn, as the thread of
            a model does. Then a full batch stands ready before the model is free.
        observer: Is told what happens. Default: nobody.

    Attributes:
        cost: What its batches have cost so far, where they are padded.
    """

    def __init__(
        self,
        name: str,
        run: Callable[..., Awaitable[list[Res]]],
        batch: Batch,
        *,
        prepare: Callable[[list[Req]], Awaitable[Any]] | None = None,
        takes_turns: bool = False,
        observer: BatchObserver | None = None,
    ) -> None:
        self._name = name
        self._run = run
        self._prepare = prepare
        self._batch = batch
        self._measures = Measures.of(batch)
        self._observer = observer
        self._queue: deque[_Waiting] = deque()
        self._running: set[_Running] = set()
        self._turn = asyncio.Semaphore(64 if takes_turns else batch.max_parallel_batches)
        self._takes_turns = takes_turns
        self._pace = Pace(batch)
        self.cost = BatchCost()
        self._looking: asyncio.Handle | None = None
        self._looks_at = math.inf

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    async def submit(self, request: Req) -> Res:
        """Wait for the answer to one request; a cancelled caller leaves the queue.

        Raises:
            OverloadedError: The queue is full.
            DeadlineError: No answer in time.
            BatchError: There was not one answer per request, or the batch was cancelled.
            Exception: Whatever the function raised for this request.
        """
        loop = asyncio.get_running_loop()
        if len(self._queue) >= self._batch.queue_limit:
            self._make_room()
        waiting = _Waiting(request, loop.create_future(), time.monotonic())
        if self._measures is not None:
            waiting.key = self._measures.key(request)
            waiting.length = self._measures.length(request)
        self._queue.append(waiting)
        self._wake(loop)
        limit = self._batch.deadline_ms
        timer = loop.call_later(limit / 1000, self._expire, waiting, limit) if limit else None
        try:
            answer: Res = await waiting.answer
        except asyncio.CancelledError:
            self._forget(waiting)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if self._observer is not None and waiting.size:
                passage = Passage(self._name, waiting.arrived, waiting.left, waiting.size)
                self._observer.answered(passage)
        return answer

    # ── when a batch leaves ─────────────────────────────────────────────────────────────────────

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at the queue once those have come that come in the same turn of the loop."""
        if self._looks_at <= 0 or (self._running and not self._may_go_ahead()):
            return
        if self._looking is not None:
            if len(self._queue) < self._pace.enough:
                return  # it is looked at when its wait is over
            self._looking.cancel()
        self._looks_at = 0.0
        self._looking = loop.call_soon(self._look)

    def _may_go_ahead(self) -> bool:
        free = self._batch.max_parallel_batches - len(self._running)
        if free > 0:
            return True
        is_full = len(self._queue) >= self._batch.max_size
        return free == 0 and (self._prepare is not None or (self._takes_turns and is_full))

    def _look(self) -> None:
        """Send off what need not wait any longer."""
        loop = asyncio.get_running_loop()
        self._looking, self._looks_at = None, math.inf
        while self._queue and self._may_go_ahead():
            now = time.monotonic()
            is_free = len(self._running) < self._batch.max_parallel_batches
            until = self._pace.until(self._queue[0].arrived, len(self._queue), is_free=is_free)
            if until > now:
                self._looks_at = until
                self._looking = loop.call_later(until - now, self._look)
                return
            self._start(self._take(now), loop)

    def _take(self, now: float) -> list[_Waiting]:
        self._pace.company(len(self._queue) + sum(len(one.items) for one in self._running))
        if self._measures is None:
            taken = [
                self._queue.popleft() for _ in range(min(len(self._queue), self._batch.max_size))
            ]
        else:
            everyone = list(self._queue)
            places = pack(everyone, self._batch, self.cost)
            taken, chosen = [everyone[place] for place in places], set(places)
            self._queue = deque(one for at, one in enumerate(everyone) if at not in chosen)
        for one in taken:
            one.left, one.size = now, len(taken)
        return taken

    def _start(self, items: list[_Waiting], loop: asyncio.AbstractEventLoop) -> None:
        running = _Running(items)
        self._running.add(running)
        self._pace.starts(time.monotonic())
        running.task = loop.create_task(self._work(running))

    # ── a batch under way ───────────────────────────────────────────────────────────────────────

    async def _work(self, running: _Running) -> None:
        requests = [one.request for one in running.items]

        async def attempt(some: list[Req]) -> list[Res]:
            return await self._attempt(some, running)

        found: list[Any]
        try:
            found = await outcomes(self._name, attempt, requests, self._batch.on_error)
        except asyncio.CancelledError:
            self._end(running)
            error = BatchError(f"{self._name} was cancelled while it ran a batch.")
            _fail(running.items, error)
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # the loop ends: nobody else would answer
                _fail(self._queue, BatchError(f"{self._name} was stopped."))
                self._queue.clear()
                raise
            self._look()
            return
        self._end(running)
        self._look()  # before the answers: the model goes on while they are written
        failed = _deliver(running.items, found)
        if self._batch.pad is not None and not failed:  # else it ran in parts
            longest = max(one.length for one in running.items)
            self.cost.learn(longest * len(found), running.model_s)
        if self._observer is not None:
            self._observer.batch_ended(self._record(running, failed))

    async def _attempt(self, requests: list[Req], running: _Running) -> list[Res]:
        began = time.monotonic()
        prepared: tuple[Any, ...] = ()
        if self._prepare is not None:
            prepared = (await self._prepare(requests),)
            running.prepare_s += time.monotonic() - began
            self._pace.prepared(time.monotonic() - began)
        async with self._turn:
            began = time.monotonic()
            try:
                return await self._run(requests, *prepared)
            finally:
                if self._takes_turns:  # its turn came when the batch before it ended
                    began = max(began, self._pace.free_since)
                running.model_s += time.monotonic() - began
                self._pace.ends(time.monotonic(), time.monotonic() - began)

    def _end(self, running: _Running) -> None:
        self._running.discard(running)
        self._end_looking()

    def _end_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking, self._looks_at = None, math.inf

    def _record(self, running: _Running, failed: int) -> BatchRecord:
        size = len(running.items)
        seconds = running.prepare_s, running.model_s
        length = sum(one.length for one in running.items)
        return BatchRecord(self._name, size, *seconds, failed, len(self._queue), length)

    # ── requests that do not stay ───────────────────────────────────────────────────────────────

    def _make_room(self) -> None:
        if self._looks_at == 0:  # those before it may leave now, not only when the loop turns
            self._end_looking()
            self._look()
        if len(self._queue) >= self._batch.queue_limit:
            raise self._overloaded()

    def _overloaded(self) -> OverloadedError:
        if self._observer is not None:
            self._observer.refused(self._name, "overloaded")
        waiting = len(self._queue)
        batches = math.ceil(waiting / self._batch.max_size) / self._batch.max_parallel_batches
        return OverloadedError(self._name, waiting, max(1, math.ceil(batches * self._pace.model_s)))

    def _expire(self, waiting: _Waiting, deadline_ms: float) -> None:
        if waiting.answer.done():
            return
        self._forget(waiting)
        waiting.answer.set_exception(DeadlineError(self._name, deadline_ms))
        if self._observer is not None:
            self._observer.refused(self._name, "deadline")

    def _forget(self, waiting: _Waiting) -> None:
        with suppress(ValueError):  # it has left with a batch
            self._queue.remove(waiting)


def _deliver(items: list[_Waiting], found: list[Any]) -> int:
    """Answer those who still wait; return how many failed."""
    failed = 0
    for waiting, answer in zip(items, found, strict=True):
        is_error = isinstance(answer, Exception)
        failed += is_error
        if waiting.answer.done():
            continue
        if is_error:
            waiting.answer.set_exception(answer)
        else:
            waiting.answer.set_result(answer)
    return failed


def _fail(items: Iterable[_Waiting], error: Exception) -> None:
    for waiting in items:
        if not waiting.answer.done():
            waiting.answer.set_exception(own_error(error))
