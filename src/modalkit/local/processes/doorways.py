"""Doorways: sockets that live in a container's own network."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from .launcher import LaunchedProcess

__all__ = ["Doorway"]


@dataclass
class Doorway:
    """The way into a container's own network: its launcher hands out sockets made there."""

    process: LaunchedProcess
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def connect(self, port: int) -> socket.socket:
        """Connect to a port inside.

        Raises:
            OSError: When nothing listens there, or the container has ended.
        """
        async with self._turn:
            sock = await self.process.network_socket()
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        return sock

    async def listeners(self, count: int) -> list[socket.socket]:
        """Take the listening sockets that the launcher offers when it starts."""
        async with self._turn:
            return [await self.process.network_socket(ask=False) for _ in range(count)]
