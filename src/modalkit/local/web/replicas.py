"""``@app.server``: requests to a stable local URL, each carried to the replica that should have it.

Replicas are asked over connections that stay open between requests, so that a request costs no
connecting. ``Modal-Routing-Affinity-Key``, or ``Modal-Session-ID`` as it was called before, keeps a
client on one replica while the set of replicas stays.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from collections import defaultdict
from dataclasses import dataclass, field
from http import HTTPStatus

from ..apps.functions import FunctionEntry
from ..containers.container import Container
from ..containers.servers import ServerPool
from ..wire.http1 import HttpError, RequestHead
from ..wire.listener import Listener, Watched
from ..wire.proxy_auth import ProxyAuth
from .relay import ClientSide, ReplicaSide

__all__ = ["ServerEndpoint"]

# Servers close a connection that is idle for 5 s and more; one that is about to be closed must not
# be given a request.
_REUSED_FOR_S = 3.0
_KEPT_OPEN = 64
_AFFINITY = (b"modal-routing-affinity-key", b"modal-session-id")


@dataclass(eq=False)
class ServerEndpoint:
    """The URL of one server."""

    function: FunctionEntry
    auth: ProxyAuth
    sock: socket.socket
    _open: dict[Container, list[ReplicaSide]] = field(default_factory=lambda: defaultdict(list))
    _listener: Listener = field(init=False)

    def __post_init__(self) -> None:
        self._listener = Listener(lambda: ClientSide(self))

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.sock.getsockname()[1]}"

    @property
    def connections(self) -> set[Watched]:
        """Clients that are connected."""
        return self._listener.connections

    async def open(self) -> None:
        """Start listening."""
        await self._listener.start(self.sock)

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        self._listener.close()
        for sides in self._open.values():
            for side in sides:
                side.transport.abort()
        self._open.clear()

    def admit(self, head: RequestHead | None) -> None:
        """Check a request's credentials; those of HTTP/2 cannot be seen.

        Raises:
            HttpError: It has none, or wrong ones.
        """
        definition = self.function.definition
        if definition.http_config.unauthenticated or not definition.is_server:
            return  # a class with `http_server` is public
        if refusal := self.auth.refusal(head.headers if head is not None else []):
            raise HttpError(HTTPStatus.UNAUTHORIZED, refusal)

    def idle(self, head: RequestHead | None) -> ReplicaSide | None:
        """Return an open connection to the replica that is to answer, counted as busy."""
        sides = self._open[self._candidates(head)[0]]
        now = time.monotonic()
        while sides:
            side = sides.pop()
            if not side.transport.is_closing() and now - side.idle_since < _REUSED_FOR_S:
                self._pool.connected(side.container)
                return side
            side.transport.abort()
        return None

    async def connect(self, head: RequestHead | None) -> ReplicaSide:
        """Open a connection to the replica that is to answer, counted as busy.

        Raises:
            HttpError: No replica accepts connections.
        """
        pool = self._pool
        for container in self._candidates(head):
            pool.connected(container)
            try:
                return await self._connect(container)
            except OSError:
                pool.disconnected(container)
            except BaseException:
                pool.disconnected(container)
                raise
        raise self._unavailable()

    def done(self, replica: ReplicaSide, *, reusable: bool) -> None:
        """A request was answered, or will not be."""
        pool = replica.container.pool
        assert isinstance(pool, ServerPool)  # noqa: S101 - what a server's replica is in
        pool.disconnected(replica.container)
        sides = self._open[replica.container]
        if reusable and len(sides) < _KEPT_OPEN and not replica.container.retiring:
            replica.idle_since = time.monotonic()
            sides.append(replica)
        else:
            replica.transport.close()
        if replica.container.gone.is_set():
            self._open.pop(replica.container, None)

    @property
    def _pool(self) -> ServerPool:
        pool = self.function.any_pool
        if not isinstance(pool, ServerPool):
            msg = (
                f"{self.function.name} is not deployed as a server; if it soon is, try again then."
            )
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, msg)
        return pool

    def _candidates(self, head: RequestHead | None) -> list[Container]:
        """Return the replicas that may answer, the best first.

        Raises:
            HttpError: There is none, or none that may take more.
        """
        self._pool.wake()
        replicas = self._pool.replicas
        if not replicas:
            raise self._unavailable()
        most = self.function.definition.max_concurrent_inputs
        free = [one for one in replicas if not most or one.connections < most]
        if not free:
            self._pool.turned_away()
            msg = f"Every replica of {self.function.name} works on {most} requests, its maximum."
            raise HttpError(HTTPStatus.TOO_MANY_REQUESTS, msg)
        if client := _affinity(head):
            free.sort(key=lambda one: _rank(client, one), reverse=True)
        return free

    def _unavailable(self) -> HttpError:
        name = self.function.name
        reason = self._pool.last_failure or f"{name} is starting; try again in a moment."
        return HttpError(HTTPStatus.SERVICE_UNAVAILABLE, reason)

    async def _connect(self, container: Container) -> ReplicaSide:
        loop = asyncio.get_running_loop()
        port = self.function.definition.http_config.port
        if container.doorway is None:
            _, side = await loop.create_connection(
                lambda: ReplicaSide(container), "127.0.0.1", port
            )
            return side
        sock = await container.doorway.connect(port)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _, side = await loop.create_connection(lambda: ReplicaSide(container), sock=sock)
        return side


def _affinity(head: RequestHead | None) -> bytes:
    """Return the key by which a client asks for the same replica again; empty if it does not."""
    given = (head.get(name) for name in _AFFINITY) if head is not None else ()
    return next(filter(None, given), b"")


def _rank(client: bytes, container: Container) -> bytes:
    """Order replicas for a client so that losing one moves only its own clients."""
    return hashlib.sha256(client + b"/" + container.id.encode()).digest()
