"""Ports of this machine."""

from __future__ import annotations

import hashlib
import socket

__all__ = ["preferred_port"]

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
