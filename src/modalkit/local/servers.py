"""The replicas of an ``@app.server``: how many, and who is busy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from .containers import Container, ContainerFactory, Ended
from .pools import ContainerPool
from .protocol import api

if TYPE_CHECKING:
    from .functions import FunctionEntry

__all__ = ["ServerPool"]


class ServerPool(ContainerPool):
    """The replicas of one ``@app.server``; the gateway counts its connections on them."""

    def __init__(self, function: FunctionEntry, factory: ContainerFactory) -> None:
        super().__init__(function, factory)
        self.last_failure = ""
        self._waiting = 0

    @property
    @override
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

    @override
    def dismiss(self, container: Container) -> None:
        container.terminate(self.function.definition.http_config.exit_grace_period)

    @override
    def _give_up(self, result: api.GenericResult) -> None:
        self.last_failure = result.exception

    @override
    def _lost(self, container: Container, _how: Ended) -> None:
        container.connections = 0
