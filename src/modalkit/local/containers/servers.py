"""The replicas of an ``@app.server``, or of a class with `http_server`: how many, who is busy, and how one gives way to another."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import socket
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from typing_extensions import override

from ..protocol import api
from .container import Container, Ended
from .factory import ContainerFactory
from .pools import ContainerPool, Scaling

if TYPE_CHECKING:
    from ..apps.functions import FunctionEntry
    from ..calls.calls import Input

__all__ = ["ServerPool"]

# What a request that is being answered gets at least when its replica is to end.
_DRAIN_S = 30.0
_LISTEN_PAUSE_S = 0.02


class ServerPool(ContainerPool):
    """The replicas of one ``@app.server``; the gateway counts its requests on them."""

    def __init__(self, function: FunctionEntry, factory: ContainerFactory) -> None:
        super().__init__(function, factory)
        self.last_failure = ""
        self._waiting = 0
        self._outgoing: list[Container] = []
        self._draining: set[Container] = set()
        self._turns: dict[Container, int] = {}
        self._turn = 0
        self._waits: set[asyncio.Task[None]] = set()
        self._asking: dict[Container, asyncio.Future[list[Input]]] = {}

    @property
    @override
    def demand(self) -> float:
        return self._waiting + sum(container.load for container in self.containers)

    @property
    @override
    def scaling(self) -> Scaling:
        definition = self.function.definition
        target = (
            self.settings.target_concurrency_float
            or definition.autoscaler_settings.target_concurrency_float
            or definition.max_concurrent_inputs
            or definition.target_concurrent_inputs
            or math.inf
        )
        scaling = dataclasses.replace(super().scaling, per_container=target)
        if not self._shares_ports:
            return scaling
        return dataclasses.replace(scaling, minimum=min(scaling.minimum, 1), maximum=1, buffer=0)

    @property
    def replicas(self) -> list[Container]:
        """Containers that accept requests, the least busy first, and then in turns.

        While the first one of a new version starts, those are the old version's.
        """
        ready = [one for one in self.live if one.ready] or self._outgoing
        return sorted(ready, key=lambda one: (one.load, self._turns.get(one, 0)))

    def wake(self) -> None:
        """Start a replica if there is none; a request has come."""
        if not self.live:
            self.turned_away()

    def turned_away(self) -> None:
        """Count a request that no replica could take."""
        self._waiting = 1
        self.adjust()
        self._waiting = 0

    def connected(self, container: Container) -> None:
        """A request went to a replica."""
        container.connections += 1
        self._turn += 1
        self._turns[container] = self._turn
        self._cancel(self._idle_timers, container)
        self.adjust()

    def disconnected(self, container: Container) -> None:
        """A request was answered."""
        container.connections = max(0, container.connections - 1)
        if container in self._draining and not container.connections:
            self._end(container)
        else:
            self._watch_idle(container)

    @override
    def adjust(self) -> None:
        if not self._shares_ports:
            super().adjust()
        elif any(container.retiring for container in self.containers):
            return  # it has the port until it ends, which leads back here
        elif self.containers or self._port_is_free():
            super().adjust()

    @override
    def started(self, container: Container) -> None:
        """Its enter methods are done; it is ready when its port accepts connections."""
        task = asyncio.get_running_loop().create_task(self._await_port(container))
        self._waits.add(task)
        task.add_done_callback(self._waits.discard)

    async def _await_port(self, container: Container) -> None:
        """An enter method may start a program that listens later; the start-up timeout bounds it."""
        while not container.gone.is_set():
            if await self._accepts(container):
                self.became_ready(container)
                return
            await asyncio.sleep(_LISTEN_PAUSE_S)

    async def _accepts(self, container: Container) -> bool:
        port = self.function.definition.http_config.port
        try:
            if container.doorway is None:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
            else:
                (await container.doorway.connect(port)).close()
        except OSError:
            return False
        return True

    @override
    def became_ready(self, container: Container) -> None:
        super().became_ready(container)
        self.last_failure = ""
        if not container.retiring:
            self._let_outgoing_go()

    @override
    def retire_all(self) -> None:
        """Replace the replicas; those that answer go on until the first new one does."""
        self._let_outgoing_go()
        for container in self.live:
            if container.ready and not self._shares_ports:
                container.retiring = True
                self._cancel(self._idle_timers, container)
                self._outgoing.append(container)
            else:
                self.retire(container)
        self._backoff.forget()
        if self._outgoing:
            loop = asyncio.get_running_loop()
            loop.call_later(self.function.startup_timeout_s, self._let_outgoing_go)
            self.turned_away()  # an idle one too was there to answer at once: so shall the new one

    @override
    def wind_down(self) -> None:
        self._outgoing.clear()
        super().wind_down()

    @override
    def next_inputs(self, container: Container, batch_max: int) -> Awaitable[list[Input]]:
        """Let a class with `http_server` wait for what never comes: it hears here when to end."""
        self._asking[container] = asyncio.get_running_loop().create_future()
        return self._asking[container]

    @override
    def dismiss(self, container: Container) -> None:
        if not container.connections or container.stopping:
            self._end(container)
            return
        self._draining.add(container)
        patience = max(self.function.definition.http_config.exit_grace_period, _DRAIN_S)
        asyncio.get_running_loop().call_later(patience, self._end, container)

    @override
    def _give_up(self, result: api.GenericResult) -> None:
        self.last_failure = result.exception

    @override
    def _lost(self, container: Container, _how: Ended) -> None:
        container.connections = 0
        self._turns.pop(container, None)
        self._asking.pop(container, None)
        self._draining.discard(container)
        if container in self._outgoing:
            self._outgoing.remove(container)

    def _end(self, container: Container) -> None:
        self._draining.discard(container)
        asking = self._asking.pop(container, None)
        if container.gone.is_set():
            return
        grace_s = self.function.definition.http_config.exit_grace_period
        if asking is None or asking.done():
            container.terminate(grace_s)
        else:
            asking.set_result([])
            container.expect_end(max(grace_s, _DRAIN_S))

    def _let_outgoing_go(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        for container in outgoing:
            self.dismiss(container)

    @property
    def _shares_ports(self) -> bool:
        """Whether replicas have this machine's ports, of which each can be had by one."""
        return not self._factory.isolation.namespaces

    def _port_is_free(self) -> bool:
        port = self.function.definition.http_config.port
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                self.last_failure = (
                    f"Port {port}, which {self.function.name} listens on, is taken by something "
                    "else on this machine. Without namespaces a server shares the machine's ports: "
                    "give each server a port of its own with port=, or stop what has this one."
                )
                return False
        return True
