"""How many containers a function has.

A pool belongs to one function (or one parametrised variant of it). What its containers work on is
for the two kinds of pool to say: `inputs.InputPool` has a queue, `servers.ServerPool` connections.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import LocalModalError
from ..protocol import api, serves_http
from .backoff import Backoff
from .container import Container, Ended
from .factory import ContainerFactory

if TYPE_CHECKING:
    from ..apps.functions import FunctionEntry
    from ..calls.calls import Input

__all__ = ["DEFAULT_LIMIT", "ContainerPool", "Scaling"]

_LOG = logging.getLogger("modalkit.local")
_CPUS = os.cpu_count() or 1
# Modal would go on to hundreds; on one machine that helps nobody. `max_containers` overrides it.
DEFAULT_LIMIT = max(8, 2 * _CPUS)
_DEFAULT_SCALEDOWN_WINDOW_S = 60
_LOOK_AGAIN_S = 1.0
_KILLED = 128 + signal.SIGKILL
# Somebody killed it while it was starting; one that is killed at every start is told of.
_KILLS_FORGIVEN = 2


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
        concurrency: float = (
            definition.target_concurrent_inputs or definition.max_concurrent_inputs or 1
        )
        if serves_http(definition):
            concurrency = settings.target_concurrency_float or math.inf
        chosen = api.AutoscalerSettings(
            min_containers=definition.warm_pool_size,
            max_containers=definition.concurrency_limit,
            buffer_containers=definition._experimental_buffer_containers,  # noqa: SLF001 - a protobuf field of that name
            scaledown_window=definition.task_idle_timeout_secs,
        )
        chosen.MergeFrom(definition.autoscaler_settings)
        chosen.MergeFrom(settings)  # a zero that was asked for counts
        return cls(
            minimum=chosen.min_containers,
            maximum=chosen.max_containers,
            buffer=chosen.buffer_containers,
            scaledown_window_s=chosen.scaledown_window or _DEFAULT_SCALEDOWN_WINDOW_S,
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
        self._backoff = Backoff()
        self._looking_again: asyncio.TimerHandle | None = None

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
        limit = (self.scaling.maximum or DEFAULT_LIMIT) + self._waiting_for_others()
        missing = min(self._wanted, limit) - len(self.live)
        starting = sum(not container.ready for container in self.live)
        if self._pauses:
            return
        for _ in range(min(missing, max(_CPUS, 2) - starting)):
            if not self._start():
                break

    def rescale(self, settings: api.AutoscalerSettings) -> None:
        """Override some of the settings; containers above a new maximum finish what they do."""
        self.settings.MergeFrom(settings)
        for container in list(self._idle_timers):
            self._watch_idle(container)
        if maximum := self.scaling.maximum:
            for container in sorted(self.live, key=lambda one: one.load)[:-maximum]:
                self.retire(container)
        self.adjust()

    def retire_all(self) -> None:
        """Let every container finish what it does and end; new ones follow the new definition."""
        for container in list(self.containers):
            self.retire(container)
        self._backoff.forget()

    def wind_down(self) -> None:
        """Start nothing any more, because another pool does; containers finish what they do and end."""
        self.stopped = True
        for container in list(self.containers):
            self.retire(container)

    async def stop(self, grace_s: float) -> None:
        """End every container and take no more work."""
        self.stopped = True
        await asyncio.gather(*(container.stop(grace_s) for container in list(self.containers)))

    def started(self, container: Container) -> None:
        """A container's own code says that it has started."""
        self.became_ready(container)

    def became_ready(self, container: Container) -> None:
        """A container has started: it may take work."""
        if container.ready:
            return
        container.ready = True
        container.reached("ready")
        phases = ", ".join(f"{name} {after:.3f} s" for name, after in container.phases.items())
        _LOG.debug("%s %s started: %s", self.function.name, container.id, phases)
        # The client's progress line counts the containers that are at work.
        self.function.app.log.task_state(
            api.TASK_STATE_ACTIVE, task_id=container.id, function_id=self.function.id
        )
        self._backoff.forget()
        self._cancel(self._start_timers, container)
        self._watch_idle(container)
        self.adjust()

    def ended(self, container: Container, how: Ended) -> None:
        """A container's process is gone."""
        _LOG.debug("%s %s ended with %d", self.function.name, container.id, how.code)
        self.containers.remove(container)
        self._cancel(self._start_timers, container)
        self._cancel(self._idle_timers, container)
        on_purpose = container.stopping or container.interrupted
        if not container.ready and not on_purpose:
            self._failed_to_start(container, how)
        self._lost(container, how)
        self.adjust()

    @property
    def _wanted(self) -> int:
        """How many containers there should be now, whatever the maximum says."""
        scaling = self.scaling
        if not self.demand:
            return scaling.minimum
        needed = max(1, math.ceil(self.demand / scaling.per_container))
        return max(scaling.minimum, needed + scaling.buffer)

    @property
    def _pauses(self) -> bool:
        """Whether to wait after failed starts.

        A caller who has no other container to hope for gets a new attempt, or its error, at once.
        """
        hopeless = self.demand > 0 and not any(container.ready for container in self.live)
        return self._backoff.holds(time.monotonic()) and not hopeless

    def give_way(self, container: Container) -> None:
        """Let an idle container end before its time, because others wait for what it has."""
        waiting = self.demand - sum(one.load for one in self.containers)
        if self._is_idle(container) and not waiting and len(self.live) > self.scaling.minimum:
            self.retire(container)

    def _start(self) -> bool:
        """Start a container; False if it has to wait for a GPU, or may not start at all."""
        try:
            lease = self._factory.admission.admit(self.function)
        except LocalModalError as error:
            status = api.GenericResult.GENERIC_STATUS_FAILURE
            self._give_up(api.GenericResult(status=status, exception=str(error)))
            return False
        if lease is None:
            self._wait_for_gpu()
            return False
        container = self._factory.start(self.function, self, lease)
        _LOG.debug("%s %s is starting", self.function.name, container.id)
        self.containers.append(container)
        window = self.function.startup_timeout_s
        loop = asyncio.get_running_loop()
        timer = loop.call_later(window, self._startup_timed_out, container)
        self._start_timers[container] = timer
        return True

    def _wait_for_gpu(self) -> None:
        """Look again when one of ours is given back, and from time to time for another plane's."""
        self._factory.admission.wait(self.adjust)
        self._factory.ask_idle_to_give_way()
        loop = asyncio.get_running_loop()
        if self._looking_again is None or self._looking_again.when() <= loop.time():
            self._looking_again = loop.call_later(_LOOK_AGAIN_S, self.adjust)

    def _startup_timed_out(self, container: Container) -> None:
        container.fail(
            f"The container of {self.function.name!r} was not ready after its startup_timeout of "
            f"{self.function.startup_timeout_s:.0f} s. Raise startup_timeout= if it is still loading."
        )

    def _failed_to_start(self, container: Container, how: Ended) -> None:
        pause = self._backoff.failed(time.monotonic())
        asyncio.get_running_loop().call_later(pause, self.adjust)
        killed = how.code == _KILLED and not (how.memory_limit_mib or container.startup_result)
        if killed and self._backoff.failures <= _KILLS_FORGIVEN:
            return
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
        if self._is_idle(container) and len(self.live) > self._wanted:
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

    def next_inputs(
        self, container: Container, batch_max: int
    ) -> list[Input] | Awaitable[list[Input]]:
        """Take work for a container, now or when there is some; an empty list tells it to end."""
        raise NotImplementedError

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
