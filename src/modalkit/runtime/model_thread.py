"""The one thread in which the plain methods of a service run, and what a turn in it costs.

Its answers wake the event loop once for all that are ready, not once each.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

__all__ = ["ModelThread", "ending_in_an_answer"]

# Pieces of a generator that are ready within so many seconds travel together.
_SLICE_S = 0.002
_END = object()


class _Job(NamedTuple):
    call: Callable[[], Any]
    answer: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class ModelThread:
    """A thread that runs calls one at a time, in their order.

    A call that waits for its turn and whose caller leaves does not run; one that runs, ends.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: deque[tuple[_Job, Any, BaseException | None]] = deque()
        self._is_waking = False
        self._thread: threading.Thread | None = None

    async def __call__(
        self, function: Callable[..., Any], *arguments: object, **keywords: object
    ) -> Any:
        """Call a function in the thread, with the caller's context variables."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="model", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        call = partial(context.run, ending_in_an_answer, function, *arguments, **keywords)
        answer: asyncio.Future[Any] = loop.create_future()
        self._jobs.put(_Job(call, answer, loop))
        return await answer

    async def iterate(
        self, function: Callable[..., Iterator[Any]], *arguments: object, **keywords: object
    ) -> AsyncIterator[Any]:
        """Run a generator function in the thread, by turns with whatever else runs there."""
        generator = await self(function, *arguments, **keywords)
        try:
            ended = False
            while not ended:
                pieces, ended = await self(_slice, generator)
                for piece in pieces:
                    yield piece
        finally:
            if hasattr(generator, "close"):
                await self(generator.close)

    def close(self) -> None:
        """Take no more calls."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.answer.cancelled():
                continue
            try:
                self._tell(job, job.call(), None)
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
                self._tell(job, None, error)
            del job  # or its answer would be kept until the next one comes

    def _tell(self, job: _Job, value: Any, error: BaseException | None) -> None:
        self._done.append((job, value, error))
        if not self._is_waking:
            self._is_waking = True
            with suppress(RuntimeError):  # the loop has ended, and with it whoever asked
                job.loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        self._is_waking = False
        while self._done:
            job, value, error = self._done.popleft()
            if job.answer.done():
                continue
            if error is None:
                job.answer.set_result(value)
            else:
                job.answer.set_exception(error)


def _slice(generator: Iterator[Any]) -> tuple[list[Any], bool]:
    """The next pieces, and whether they are the last."""
    pieces: list[Any] = []
    until = time.monotonic() + _SLICE_S
    while True:
        piece = next(generator, _END)
        if piece is _END:
            return pieces, True
        pieces.append(piece)
        if time.monotonic() >= until:
            return pieces, False


def ending_in_an_answer(
    function: Callable[..., Any], *arguments: object, **keywords: object
) -> Any:
    """Call, and make an error of what would end the event loop, or be lost in it, instead."""
    try:
        return function(*arguments, **keywords)
    except (StopIteration, SystemExit) as error:
        name = getattr(function, "__qualname__", repr(function)).rpartition("<locals>.")[2]
        msg = f"{name} raised {error!r}, which cannot leave its thread."
        raise RuntimeError(msg) from error
