"""Gather single requests into batches for one method of one container.

``.remote`` calls and HTTP requests wait in the same queue. While the model runs, requests gather;
when it is idle the first one leaves at once. Answers go back in the order of the requests.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..declare.routes import Batch
from ..errors import BatchError

__all__ = ["Batcher"]

Req = TypeVar("Req")
Res = TypeVar("Res")


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Req, Res]):
    request: Req
    answer: asyncio.Future[Res]
    since: float


class Batcher(Generic[Req, Res]):
    """A queue in front of a function from a list of requests to a list of answers.

    One batch runs at a time. Everything happens on the event loop that `submit` is called on.

    Args:
        name: The method's name, for messages.
        run: The function; it may raise, and then every request of that batch fails with its own
            copy of the error, or with the error itself where that cannot be copied.
        batch: Size and wait limits.
    """

    def __init__(
        self, name: str, run: Callable[[list[Req]], Awaitable[list[Res]]], batch: Batch
    ) -> None:
        self._name = name
        self._run = run
        self._batch = batch
        self._queue: deque[_Waiting[Req, Res]] = deque()
        self._full = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, request: Req) -> Res:
        """Wait for the answer to one request; a cancelled caller leaves the queue.

        Raises:
            BatchError: There was not one answer per request, or the batch was cancelled.
            Exception: Whatever the function raised.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Res] = loop.create_future()
        self._queue.append(_Waiting(request, answer, loop.time()))
        if len(self._queue) >= self._batch.max_size:
            self._full.set()
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        """Run batches until nothing waits; a new request starts a new worker."""
        busy = False
        try:
            while self._drop_cancelled():
                if busy:
                    await self._gather()
                batch = self._take()
                if batch:
                    await self._run_one(batch)
                busy = True
        except asyncio.CancelledError:  # nobody else would wake those who wait
            _fail(self._queue, BatchError(f"{self._name} was stopped."))
            raise
        finally:
            self._worker = None

    async def _gather(self) -> None:
        """Give the oldest waiting request's company until its wait is over or the batch is full."""
        left = self._queue[0].since + self._batch.max_wait_ms / 1000
        left -= asyncio.get_running_loop().time()
        self._full.clear()
        if len(self._queue) >= self._batch.max_size or left <= 0:
            return
        with suppress(TimeoutError):  # nobody else came: leave with those who are here
            await asyncio.wait_for(self._full.wait(), timeout=left)

    def _drop_cancelled(self) -> bool:
        while self._queue and self._queue[0].answer.done():
            self._queue.popleft()
        return bool(self._queue)

    def _take(self) -> list[_Waiting[Req, Res]]:
        batch: list[_Waiting[Req, Res]] = []
        while self._queue and len(batch) < self._batch.max_size:
            waiting = self._queue.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
        return batch

    async def _run_one(self, batch: list[_Waiting[Req, Res]]) -> None:
        try:
            answers = await self._run([waiting.request for waiting in batch])
            _check_length(self._name, len(batch), answers)
        except asyncio.CancelledError:
            _fail(batch, BatchError(f"{self._name} was cancelled while it ran a batch."))
            if self._worker is not None and self._worker.cancelling():
                raise
            return
        except Exception as error:  # noqa: BLE001 - it belongs to the callers, whatever it is
            _fail(batch, error)
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)


def _fail(batch: Iterable[_Waiting[Req, Res]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(_own(error))


def _own(error: Exception) -> Exception:
    """A caller's own copy: each one that raises an error adds its frames to the traceback."""
    try:
        mine = copy.copy(error)
        is_like_it = type(mine) is type(error) and str(mine) == str(error)
    except Exception:  # noqa: BLE001 - errors whose __init__ does not take what it passed on
        return error
    if not is_like_it:
        return error
    mine.__cause__, mine.__context__ = error.__cause__, error.__context__
    mine.__suppress_context__ = error.__suppress_context__
    return mine.with_traceback(error.__traceback__)


def _check_length(name: str, expected: int, answers: object) -> None:
    if isinstance(answers, (list, tuple)) and len(answers) == expected:
        return
    got = f"{len(answers)}" if isinstance(answers, (list, tuple)) else f"a {type(answers).__name__}"
    msg = f"{name} got {expected} requests and returned {got}. Return a list with one answer each."
    raise BatchError(msg)
