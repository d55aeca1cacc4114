"""A function's queue of inputs, and which container gets which."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from ..calls.fair_queue import FairQueue
from ..protocol import api, serves_http
from .container import Container, Ended
from .factory import ContainerFactory
from .pools import DEFAULT_LIMIT, ContainerPool

if TYPE_CHECKING:
    from ..apps.functions import FunctionEntry
    from ..calls.calls import Calls, Input

__all__ = ["InputPool", "pool_of"]

_CANCEL_GRACE_S = 5.0
# An input whose container died runs again elsewhere, as on Modal; one that kills every container
# it meets is the reason itself, and its caller must hear of it.
_CRASHES_FORGIVEN = 2


@dataclass(eq=False, slots=True)
class _Poll:
    """A container that asked for inputs and waits."""

    container: Container
    batch_max: int
    answer: asyncio.Future[list[Input]]


class InputPool(ContainerPool):
    """The queue of a function's inputs and the containers that take from it."""

    def __init__(self, function: FunctionEntry, factory: ContainerFactory, calls: Calls) -> None:
        super().__init__(function, factory)
        self._calls = calls
        self._queue = FairQueue()
        self._polls: deque[_Poll] = deque()
        self._linger: asyncio.TimerHandle | None = None

    @property
    @override
    def demand(self) -> float:
        return len(self._queue) + sum(container.load for container in self.containers)

    @property
    def backlog(self) -> int:
        """Inputs that no container has taken yet."""
        return len(self._queue)

    def submit(self, entry: Input) -> None:
        """Queue an input."""
        if self.stopped:
            self._calls.settle(entry, self._over)
            return
        entry.queued_at = time.monotonic()
        self._queue.put(entry)
        self._dispatch()
        if self._queue:
            self.adjust()

    @override
    def next_inputs(
        self, container: Container, batch_max: int
    ) -> list[Input] | Awaitable[list[Input]]:
        self.became_ready(container)
        if container.retiring:
            container.expect_end()
            return []
        poll = _Poll(container, batch_max, asyncio.get_running_loop().create_future())
        self._polls.append(poll)
        self._dispatch()
        if poll.answer.done():
            return poll.answer.result()
        self._watch_idle(container)
        return self._wait(poll)

    async def _wait(self, poll: _Poll) -> list[Input]:
        try:
            return await poll.answer
        finally:
            with contextlib.suppress(ValueError):
                self._polls.remove(poll)

    def concurrency(self, target: int, maximum: int) -> int:
        """Say how many inputs a container may work on now: more than its target only in a rush."""
        limit = self.scaling.maximum or DEFAULT_LIMIT
        return maximum if self._queue and len(self.live) >= limit else target

    def finished(self, container: Container, output: api.FunctionPutOutputsItem) -> None:
        """A container sent an output."""
        entry = container.running.get(output.input_id)
        if entry is not None and output.retry_count != entry.attempt:
            return  # the late output of an attempt that was given up
        container.running.pop(output.input_id, None)
        if entry is not None:
            self._stop_clock(entry)
            if not entry.done:
                self._judge(entry, output.result, output)
        if not self._queue:
            self._watch_idle(container)

    def cancel(self, entry: Input, *, kill_container: bool) -> None:
        """Cancel an input for its caller, wherever it is."""
        self._calls.settle(entry, _terminated("The input was cancelled by its caller."))
        self._queue.discard(entry)
        container = entry.container
        if container is not None and container.running.get(entry.id) is entry:
            self._stop_clock(entry)
            self._interrupt(entry, container, 0.0 if kill_container else _CANCEL_GRACE_S)

    @override
    def wind_down(self) -> None:
        super().wind_down()
        self._give_up(self._over)

    @override
    async def stop(self, grace_s: float) -> None:
        while self._queue:
            self._calls.settle(self._queue.take(), _terminated("The app was stopped."))
        await super().stop(grace_s)

    @property
    def _over(self) -> api.GenericResult:
        """Why no container will take an input any more."""
        if not serves_http(self.function.definition):
            return _terminated("The app was stopped.")
        name = self.function.name
        return _terminated(
            f"{name!r} was redeployed as a server: it takes HTTP requests, not calls."
        )

    def _dispatch(self) -> None:
        while self._queue and self._polls:
            poll = self._polls[0]
            if poll.answer.done():  # its container's connection was lost just now
                self._polls.popleft()
                continue
            batch = self._batch(poll.batch_max)
            if not batch:
                return
            self._polls.popleft()
            for entry in batch:
                self._begin(entry, poll.container)
            poll.answer.set_result(batch)

    def _batch(self, batch_max: int) -> list[Input]:
        """Take the next input, or (for a batched function) the next full or ripe batch.

        A class with a batched method has no other methods, so any inputs go together.
        """
        if batch_max <= 1:
            return [self._queue.take()]
        first = self._queue.first
        linger_s = self.function.definition.batch_linger_ms / 1000
        remaining = first.queued_at + linger_s - time.monotonic()
        if len(self._queue) < batch_max and remaining > 0:
            if self._linger is not None:
                self._linger.cancel()
            self._linger = asyncio.get_running_loop().call_later(remaining, self._dispatch)
            return []
        return [self._queue.take() for _ in range(min(batch_max, len(self._queue)))]

    def _begin(self, entry: Input, container: Container) -> None:
        entry.container = container
        container.last_call = entry.call.id
        container.running[entry.id] = entry
        self._cancel(self._idle_timers, container)
        timeout = self.function.definition.timeout_secs
        if timeout:
            loop = asyncio.get_running_loop()
            entry.timer = loop.call_later(timeout, self._timed_out, entry, container)

    def _timed_out(self, entry: Input, container: Container) -> None:
        if entry.done:
            return
        timeout = self.function.definition.timeout_secs
        message = f"Task's current input {entry.id} hit its timeout of {timeout}s"
        result = api.GenericResult(
            status=api.GenericResult.GENERIC_STATUS_TIMEOUT, exception=message
        )
        self._interrupt(entry, container, _CANCEL_GRACE_S)
        self._judge(entry, result, None)
        if not entry.done:
            container.running[entry.id] = None  # busy with it until it says otherwise

    def _interrupt(self, entry: Input, container: Container, grace_s: float) -> None:
        """Make a container let go of an input: ask first, then end the container."""
        attempt = entry.attempt
        container.cancel_input(entry.id)

        def end_if_still_running() -> None:
            now = container.running.get(entry.id)
            if entry.id in container.running and (now is None or now.attempt == attempt):
                container.kill()

        if grace_s:
            asyncio.get_running_loop().call_later(grace_s, end_if_still_running)
        else:
            container.kill()

    def _judge(
        self,
        entry: Input,
        result: api.GenericResult,
        output: api.FunctionPutOutputsItem | None,
    ) -> None:
        """Hand a result to the caller, or try again if the function's retries allow."""
        policy = self.function.definition.retry_policy
        failed = result.status not in {
            api.GenericResult.GENERIC_STATUS_SUCCESS,
            api.GenericResult.GENERIC_STATUS_TERMINATED,
        }
        if not failed or entry.failures >= policy.retries or self.stopped:
            self._calls.settle(entry, result, output)
            return
        delay_ms = policy.initial_delay_ms * (policy.backoff_coefficient or 1) ** entry.failures
        entry.failures += 1
        self._requeue(entry, min(delay_ms, policy.max_delay_ms or delay_ms) / 1000)

    def _requeue(self, entry: Input, delay_s: float) -> None:
        self._stop_clock(entry)
        entry.attempt += 1
        asyncio.get_running_loop().call_later(delay_s, self._submit_again, entry)

    def _submit_again(self, entry: Input) -> None:
        if not entry.done:
            entry.container = None
            self.submit(entry)

    @override
    def dismiss(self, container: Container) -> None:
        for poll in list(self._polls):
            if poll.container is container:
                self._polls.remove(poll)
                if not poll.answer.done():
                    poll.answer.set_result([])
                container.expect_end()

    @override
    def _give_up(self, result: api.GenericResult) -> None:
        while self._queue:
            self._calls.settle(self._queue.take(), result)

    @override
    def _lost(self, container: Container, how: Ended) -> None:
        for entry in list(container.running.values()):
            if entry is None or entry.done:
                continue
            self._stop_clock(entry)
            if container.interrupted:
                self._requeue(entry, 0.0)
            elif not container.stopping and entry.crashes < _CRASHES_FORGIVEN:
                entry.crashes += 1
                self._requeue(entry, 0.0)
            elif container.stopping:
                self._calls.settle(entry, _terminated("The app was stopped."))
            else:
                self._judge(entry, how.as_result(), None)
        container.running.clear()
        self._polls = deque(poll for poll in self._polls if poll.container is not container)

    @override
    def _waiting_for_others(self) -> int:
        """Count the containers whose inputs wait, directly or not, for inputs of this queue.

        Without containers beyond the maximum for those, a function that calls itself would wait
        for ever once as many of its inputs run as it may have containers.
        """
        running = (entry for container in self.containers for entry in container.running.values())
        if not any(entry is not None and entry.waiting_for > 0 for entry in running):
            return 0
        held: set[str] = set()
        for call in self._queue.calls:
            parent = call.parent
            while parent is not None:
                if parent.call.function is self.function and parent.container is not None:
                    held.add(parent.container.id)
                parent = parent.call.parent
        return len(held)

    @staticmethod
    def _stop_clock(entry: Input) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None


def pool_of(container: Container) -> InputPool:
    """Return the pool that a container takes its inputs from, its function's or its former one."""
    if not isinstance(container.pool, InputPool):
        msg = f"{container.function.name!r} is a server: it takes HTTP requests, not calls."
        raise TypeError(msg)
    return container.pool


def _terminated(reason: str) -> api.GenericResult:
    return api.GenericResult(status=api.GenericResult.GENERIC_STATUS_TERMINATED, exception=reason)
