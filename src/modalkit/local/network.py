"""Ports on this machine, and sockets that live in a container's own network."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from dataclasses import dataclass, field

from .launcher import LaunchedProcess

__all__ = ["Doorway", "preferred_port"]

# Below the range from which systems take ports for outgoing connections.
_FIRST_PORT, _PORTS, _TRIES = 21_000, 10_000, 50


def preferred_port(label: str) -> socket.socket:
    """Listen on a loopback port that is the same for the same label, if nothing else has it."""
    start = int.from_bytes(hashlib.sha256(label.encode()).digest()[:4]) % _PORTS
    for offset in range(_TRIES):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it; asyncio sets it only on sockets made with a protocol number.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.bind(("127.0.0.1", _FIRST_PORT + (start + offset) % _PORTS))
            sock.listen(128)
        except OSError:
            sock.close()
            continue
        return sock
    return socket.create_server(("127.0.0.1", 0))


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
