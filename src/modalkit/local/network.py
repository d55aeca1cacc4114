"""Ports on this machine, and sockets that live in a container's own network."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from dataclasses import dataclass, field

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


def _resolve(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


@dataclass
class Doorway:
    """The way into a container's own network: its launcher hands out sockets made there.

    Attributes:
        control: Connected to the launcher; each byte sent asks for one socket.
    """

    control: socket.socket
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def connect(self, port: int) -> socket.socket:
        """Connect to a port inside.

        Raises:
            OSError: When nothing listens there, or the container has ended.
        """
        async with self._turn:
            self.control.send(b"c")
            sock = await self._receive()
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        return sock

    async def listeners(self, count: int) -> list[socket.socket]:
        """Take the listening sockets that the launcher offers when it starts."""
        async with self._turn:
            return [await self._receive() for _ in range(count)]

    def close(self) -> None:
        """Let go of the launcher."""
        self.control.close()

    async def _receive(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self.control, _resolve, readable)
        try:
            await readable
        finally:
            loop.remove_reader(self.control)
        _message, descriptors, _flags, _address = socket.recv_fds(self.control, 1, 1)
        if not descriptors:
            message = "The container has ended."
            raise ConnectionResetError(message)
        sock = socket.socket(fileno=descriptors[0])
        sock.setblocking(False)
        return sock
