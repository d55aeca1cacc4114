"""Listening on a socket, and letting go of clients that do not go on."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["IDLE_S", "STALLED_S", "Listener", "Watched"]

STALLED_S = 20.0
"""How long a request's head, or the next byte of a body that is awaited, may take."""

IDLE_S = 120.0
"""How long a connection may be open between two requests."""

_SWEEP_S = 5.0
_BACKLOG = 1024


class Watched(Protocol):
    """A client's connection, as its listener sees it."""

    transport: asyncio.Transport

    def check(self, now: float) -> None:
        """Let go of a client that does not go on."""


class Listener:
    """Accepts the connections of one socket.

    Args:
        make: Makes the protocol of a connection, which adds itself to ``connections`` and takes
            itself out.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol]) -> None:
        self.connections: set[Watched] = set()
        self._make = make
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self, sock: socket.socket) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._make, sock=sock, backlog=_BACKLOG)
        self._sweep = loop.call_later(_SWEEP_S, self._check)

    def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()

    def _check(self) -> None:
        now = time.monotonic()
        for connection in list(self.connections):
            connection.check(now)
        self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._check)
