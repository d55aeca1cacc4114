"""The process that has loaded a container's program and forks where containers are wanted.

It has one thread, opens nothing, and ends when the plane closes its channel.
"""

from __future__ import annotations

import gc
import os
import signal
import socket

__all__ = ["READY", "next_container"]

READY = b"r"
_PATH_LIMIT = 4096
_HANDED = 4  # control, standard input, output and error


def next_container(channel: socket.socket) -> tuple[str, socket.socket]:
    """Fork for each container that the plane asks for; return in the child alone.

    Returns:
        The path of the container's spec and its control socket.
    """
    gc.collect()
    gc.freeze()  # the collector of a container must not touch, and so copy, what it shares
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # launchers are collected by the kernel
    channel.send(READY)
    while True:
        try:
            path, handed, _flags, _address = socket.recv_fds(channel, _PATH_LIMIT, _HANDED)
        except ConnectionError:
            path = b""
        if not path:
            os._exit(0)  # the plane is gone
        if os.fork() == 0:
            channel.close()
            return path.decode(), _take_over(handed)
        for descriptor in handed:
            os.close(descriptor)


def _take_over(handed: list[int]) -> socket.socket:
    """As a new launcher: be what one is that the plane started itself."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    control, *streams = handed
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    return socket.socket(fileno=control)
