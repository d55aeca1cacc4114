"""Notice callers that leave while they wait, at no cost to those who are answered at once.

A server tells that a client has left only to whoever asks for its next message. Asking takes a task, so
it is done for requests alone that have waited a while already, by one timer for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

__all__ = ["CallerLeftError", "Departures"]

T = TypeVar("T")
_PATIENCE_S = 0.05


class CallerLeftError(Exception):
    """Nobody waits for the answer any more."""


class _Visit:
    __slots__ = ("has_left", "is_old", "receive", "task", "watcher")

    def __init__(self, task: asyncio.Task[object], receive: Receive) -> None:
        self.task = task
        self.receive = receive
        self.is_old = self.has_left = False
        self.watcher: asyncio.Task[None] | None = None

    async def watch(self) -> None:
        while (await self.receive())["type"] not in {"http.disconnect", "websocket.disconnect"}:
            pass
        self.has_left = True
        self.task.cancel()


class Departures:
    """The requests that one app is answering."""

    def __init__(self) -> None:
        self._here: set[_Visit] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def unless_left(
        self, receive: Receive, answer: Awaitable[T], *, at_once: bool = False
    ) -> T:
        """Wait for an answer and cancel it when its caller leaves.

        Args:
            receive: The request's ASGI ``receive``, its body read.
            answer: What is waited for.
            at_once: Watch from the beginning, as for a stream.

        Raises:
            CallerLeftError: The caller has left.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101 - an ASGI app runs in a task
        visit = _Visit(task, receive)
        if at_once:
            visit.watcher = loop.create_task(visit.watch())
        else:
            self._here.add(visit)
            if self._timer is None:
                self._timer = loop.call_later(_PATIENCE_S, self._look, loop)
        try:
            return await answer
        except asyncio.CancelledError:
            if not visit.has_left:
                raise
            task.uncancel()
            raise CallerLeftError from None
        finally:
            self._here.discard(visit)
            if visit.watcher is not None:
                visit.watcher.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        for visit in self._here:
            if visit.is_old and visit.watcher is None:
                visit.watcher = loop.create_task(visit.watch())
            visit.is_old = True
        self._timer = loop.call_later(_PATIENCE_S, self._look, loop) if self._here else None
