"""How many containers a function has, and which input goes to which.

A pool belongs to one function (or one parametrised variant of it). `ContainerPool` keeps the number
of containers right; `InputPool` adds the queue of inputs; `ServerPool` counts connections instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .containers import Container, ContainerFactory, Ended
from .protocol import api

if TYPE_CHECKING:
    from .calls import Calls, Input
    from .functions import FunctionEntry

__all__ = ["ContainerPool", "InputPool", "Scaling", "ServerPool"]

_CPUS = os.cpu_count() or 1
# Modal would go on to hundreds; on one machine that helps nobody. `max_containers` overrides it.
_DEFAULT_LIMIT = max(8, 2 * _CPUS)
_DEFAULT_SCALEDOWN_WINDOW_S = 60
_LONGEST_RESTART_PAUSE_S = 60.0
_CANCEL_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Scaling:
    """A function's autoscaler settings.

    Attributes:
        maximum: Containers at most; 0 leaves it to the machine.
        per_container: Inputs one container works on at a time.
    """

    minimum: int
    maximum: int
    buffer: int
    scaledown_window_s: float
    per_container: float

    @classmethod
    def of(cls, definition: api.Function, settings: api.AutoscalerSettings) -> Scaling:
        """Read the settings from a function's definition and later overrides."""
        concurrency = definition.target_concurrent_inputs or definition.max_concurrent_inputs or 1
        if definition.is_server:
            concurrency = settings.target_concurrency_float or math.inf
        return cls(
            minimum=settings.min_containers or definition.warm_pool_size,
            maximum=settings.max_containers or definition.concurrency_limit,
            buffer=settings.buffer_containers or definition._experimental_buffer_containers,  # noqa: SLF001 - a protobuf field of that name
            scaledown_window_s=settings.scaledown_window
            or definition.task_idle_timeout_secs
            or _DEFAULT_SCALEDOWN_WINDOW_S,
            per_container=concurrency * max(1, definition.batch_max_size),
        )


class ContainerPool:
    """Keeps a function's containers: starts what is needed, retires what is idle.

    Args:
        factory: Starts one container; everything about processes is behind it.
    """

    def __init__(self, function: FunctionEntry, factory: ContainerFactory) -> None:
        self.function = function
        self.settings = api.AutoscalerSettings()
        self.containers: list[Container] = []
        self.stopped = False
        self._factory = factory
        self._idle_timers: dict[Container, asyncio.TimerHandle] = {}
        self._start_timers: dict[Container, asyncio.TimerHandle] = {}
        self._failures_in_a_row = 0
        self._paused_until = 0.0

    @property
    def scaling(self) -> Scaling:
        """The settings in force."""
        return Scaling.of(self.function.definition, self.settings)

    @property
    def demand(self) -> float:
        """How many inputs or connections want a container now."""
        raise NotImplementedError

    @property
    def live(self) -> list[Container]:
        """Containers that take (or will take) work."""
        return [container for container in self.containers if not container.retiring]

    def adjust(self) -> None:
        """Start containers until there are enough; called whenever something changed."""
        if self.stopped:
            return
        scaling = self.scaling
        limit = scaling.maximum or _DEFAULT_LIMIT + self._waiting_for_others()
        wanted = scaling.minimum
        if self.demand:
            needed = max(1, math.ceil(self.demand / scaling.per_container))
            wanted = max(wanted, needed + scaling.buffer)
        missing = min(wanted, limit) - len(self.live)
        starting = sum(not container.ready for container in self.live)
        if self.demand == 0 and time.monotonic() < self._paused_until:
            return
        for _ in range(min(missing, max(_CPUS, 2) - starting)):
            self._start()

    def retire_all(self) -> None:
        """Let every container finish what it does and end; new ones follow the new definition."""
        for container in list(self.containers):
            self.retire(container)
        self._failures_in_a_row, self._paused_until = 0, 0.0

    async def stop(self, grace_s: float) -> None:
        """End every container and take no more work."""
        self.stopped = True
        await asyncio.gather(*(container.stop(grace_s) for container in list(self.containers)))

    def became_ready(self, container: Container) -> None:
        """A container has started: it may take work."""
        if container.ready:
            return
        container.ready = True
        self._failures_in_a_row = 0
        self._cancel(self._start_timers, container)
        self._watch_idle(container)
        self.adjust()

    def ended(self, container: Container, how: Ended) -> None:
        """A container's process is gone."""
        self.containers.remove(container)
        self._cancel(self._start_timers, container)
        self._cancel(self._idle_timers, container)
        if not container.ready and not container.stopping:
            self._failed_to_start(container, how)
        self._lost(container, how)
        self.adjust()

    def _start(self) -> None:
        container = self._factory.start(self.function, self)
        self.containers.append(container)
        window = self.function.startup_timeout_s
        loop = asyncio.get_running_loop()
        timer = loop.call_later(window, self._startup_timed_out, container)
        self._start_timers[container] = timer

    def _startup_timed_out(self, container: Container) -> None:
        container.fail(
            f"The container of {self.function.name!r} was not ready after its startup_timeout of "
            f"{self.function.startup_timeout_s:.0f} s. Raise startup_timeout= if it is still loading."
        )

    def _failed_to_start(self, container: Container, how: Ended) -> None:
        self._failures_in_a_row += 1
        pause = min(2.0**self._failures_in_a_row, _LONGEST_RESTART_PAUSE_S)
        self._paused_until = time.monotonic() + pause
        asyncio.get_running_loop().call_later(pause, self.adjust)
        if not any(other.ready for other in self.live):
            self._give_up(container.startup_result or how.as_result())

    def _watch_idle(self, container: Container) -> None:
        """(Re)start the clock that retires an idle container."""
        self._cancel(self._idle_timers, container)
        if self._is_idle(container):
            timer = asyncio.get_running_loop().call_later(
                self.scaling.scaledown_window_s, self._idle_too_long, container
            )
            self._idle_timers[container] = timer

    def _idle_too_long(self, container: Container) -> None:
        scaling = self.scaling
        kept = scaling.minimum + (scaling.buffer if self.demand else 0)
        if self._is_idle(container) and len(self.live) > kept:
            self.retire(container)
        else:
            self._watch_idle(container)

    def _is_idle(self, container: Container) -> bool:
        return container.ready and not container.retiring and container.load == 0

    def retire(self, container: Container) -> None:
        """Let a container finish what it does and end."""
        container.retiring = True
        self._cancel(self._idle_timers, container)
        self.dismiss(container)

    def _waiting_for_others(self) -> int:
        """Count busy containers that wait for calls of their own; they must not block those."""
        return 0

    def dismiss(self, container: Container) -> None:
        """Tell a retiring container to end once its work is done."""
        raise NotImplementedError

    def _give_up(self, result: api.GenericResult) -> None:
        """No container can start: tell whoever waits."""
        raise NotImplementedError

    def _lost(self, container: Container, how: Ended) -> None:
        """Deal with the work a container had when it ended."""
        raise NotImplementedError

    @staticmethod
    def _cancel(timers: dict[Container, asyncio.TimerHandle], container: Container) -> None:
        if (timer := timers.pop(container, None)) is not None:
            timer.cancel()


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
        self._queue: deque[Input] = deque()
        self._polls: deque[_Poll] = deque()
        self._linger: asyncio.TimerHandle | None = None

    @property
    def demand(self) -> float:
        return len(self._queue) + sum(container.load for container in self.containers)

    @property
    def backlog(self) -> int:
        """Inputs that no container has taken yet."""
        return len(self._queue)

    def submit(self, entry: Input) -> None:
        """Queue an input."""
        if self.stopped:
            self._calls.settle(entry, _terminated("The app was stopped."))
            return
        entry.queued_at = time.monotonic()
        self._queue.append(entry)
        self._dispatch()
        self.adjust()

    async def next_inputs(self, container: Container, batch_max: int) -> list[Input]:
        """Wait for work for a container; an empty list tells it to end."""
        self.became_ready(container)
        if container.retiring:
            return []
        poll = _Poll(container, batch_max, asyncio.get_running_loop().create_future())
        self._polls.append(poll)
        self._dispatch()
        try:
            return await poll.answer
        finally:
            with contextlib.suppress(ValueError):
                self._polls.remove(poll)

    def concurrency(self, target: int, maximum: int) -> int:
        """Say how many inputs a container may work on now: more than its target only in a rush."""
        limit = self.scaling.maximum or _DEFAULT_LIMIT
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
        self._watch_idle(container)

    def cancel(self, entry: Input, *, kill_container: bool) -> None:
        """Cancel an input for its caller, wherever it is."""
        self._calls.settle(entry, _terminated("The input was cancelled by its caller."))
        if entry in self._queue:
            self._queue.remove(entry)
        container = entry.container
        if container is not None and entry.id in container.running:
            self._stop_clock(entry)
            self._interrupt(entry, container, 0.0 if kill_container else _CANCEL_GRACE_S)

    async def stop(self, grace_s: float) -> None:
        while self._queue:
            self._calls.settle(self._queue.popleft(), _terminated("The app was stopped."))
        await super().stop(grace_s)

    def _dispatch(self) -> None:
        while self._queue and self._polls:
            poll = self._polls[0]
            batch = self._batch(poll.batch_max)
            if not batch:
                return
            self._polls.popleft()
            for entry in batch:
                self._begin(entry, poll.container)
            poll.answer.set_result(batch)

    def _batch(self, batch_max: int) -> list[Input]:
        """Take the next input, or (for a batched function) the next full or ripe batch."""
        if batch_max <= 1:
            return [self._queue.popleft()]
        method = self._queue[0].message.method_name
        same = [entry for entry in self._queue if entry.message.method_name == method][:batch_max]
        linger_s = self.function.definition.batch_linger_ms / 1000
        remaining = same[0].queued_at + linger_s - time.monotonic()
        if len(same) < batch_max and remaining > 0:
            if self._linger is not None:
                self._linger.cancel()
            self._linger = asyncio.get_running_loop().call_later(remaining, self._dispatch)
            return []
        for entry in same:
            self._queue.remove(entry)
        return same

    def _begin(self, entry: Input, container: Container) -> None:
        entry.container = container
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

    def dismiss(self, container: Container) -> None:
        for poll in list(self._polls):
            if poll.container is container:
                self._polls.remove(poll)
                poll.answer.set_result([])

    def _give_up(self, result: api.GenericResult) -> None:
        while self._queue:
            self._calls.settle(self._queue.popleft(), result)

    def _lost(self, container: Container, how: Ended) -> None:
        for entry in list(container.running.values()):
            if entry is None or entry.done:
                continue
            self._stop_clock(entry)
            if container.interrupted:
                self._requeue(entry, 0.0)
            elif container.stopping:
                self._calls.settle(entry, _terminated("The app was stopped."))
            else:
                self._judge(entry, how.as_result(), None)
        container.running.clear()

    def _waiting_for_others(self) -> int:
        running = (entry for container in self.containers for entry in container.running.values())
        return sum(entry is not None and entry.waiting_for > 0 for entry in running)

    @staticmethod
    def _stop_clock(entry: Input) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None


class ServerPool(ContainerPool):
    """The replicas of one ``@app.server``; the gateway counts its connections on them."""

    def __init__(self, function: FunctionEntry, factory: ContainerFactory) -> None:
        super().__init__(function, factory)
        self.last_failure = ""
        self._waiting = 0

    @property
    def demand(self) -> float:
        return self._waiting + sum(container.load for container in self.containers)

    @property
    def replicas(self) -> list[Container]:
        """Containers that accept connections, the least busy first."""
        return sorted((one for one in self.live if one.ready), key=lambda one: one.load)

    def wake(self) -> None:
        """Start a replica if there is none; a request has come."""
        if not self.live:
            self._waiting = 1
            self.adjust()
            self._waiting = 0

    def connected(self, container: Container) -> None:
        """A connection to a replica was opened."""
        container.connections += 1
        self._cancel(self._idle_timers, container)
        self.adjust()

    def disconnected(self, container: Container) -> None:
        """A connection to a replica was closed."""
        container.connections -= 1
        self._watch_idle(container)

    def dismiss(self, container: Container) -> None:
        container.terminate_later(self.function.definition.http_config.exit_grace_period)

    def _give_up(self, result: api.GenericResult) -> None:
        self.last_failure = result.exception

    def _lost(self, container: Container, how: Ended) -> None:
        container.connections = 0


def _terminated(reason: str) -> api.GenericResult:
    return api.GenericResult(
        status=api.GenericResult.GENERIC_STATUS_TERMINATED, exception=reason
    )
