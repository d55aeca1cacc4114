"""What a plane and a launcher say to each other, on a Unix socket that is a container's lifeline.

The launcher sends ``p PID`` first, ``s`` with a socket made in the container's network for each one
asked for, and ``e STATUS`` last; each is five bytes. The plane sends single bytes: ``c`` asks for a
socket, ``v`` comes with one and asks for a visitor that has it as standard input, the others are
signals for the container. Closing the socket ends the container.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
from collections.abc import Callable

__all__ = ["ENDED", "MESSAGE", "PID", "SIGNALS", "SOCKET", "VISIT", "WANT_SOCKET", "Control"]

MESSAGE = struct.Struct("!cI")
PID, SOCKET, ENDED = b"p", b"s", b"e"
WANT_SOCKET = b"c"
VISIT = b"v"
SIGNALS = {b"k": signal.SIGKILL, b"i": signal.SIGINT, b"t": signal.SIGTERM}


class Control:
    """The launcher's end.

    Args:
        sock: Connected to the plane, or None for a container that nobody attends.
    """

    def __init__(self, sock: socket.socket | None) -> None:
        self.sock = sock

    def say(self, kind: bytes, number: int = 0, sock: socket.socket | None = None) -> None:
        """Tell the plane something; one that is gone does not mind."""
        if self.sock is None:
            return
        handed = [sock.fileno()] if sock else []
        with contextlib.suppress(OSError):
            socket.send_fds(self.sock, [MESSAGE.pack(kind, number)], handed)

    def obey(self, child: int, visit: Callable[[int], None]) -> None:
        """Do the next thing the plane wants; kill the container if the plane is gone.

        ``visit`` starts a visitor with a descriptor, which stays the caller's.
        """
        if self.sock is None:
            return
        try:
            order, handed, _flags, _address = socket.recv_fds(self.sock, 1, 1)
        except OSError:
            order, handed = b"", []
        if order == WANT_SOCKET:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                self.say(SOCKET, sock=sock)
        elif order == VISIT:
            for descriptor in handed:
                visit(descriptor)
                os.close(descriptor)
        elif order:
            os.kill(child, SIGNALS[order])
        else:
            self.close()
            os.kill(child, signal.SIGKILL)

    def close(self) -> None:
        """Let go of the plane."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None
