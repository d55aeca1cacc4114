"""The program of a sandbox: starts commands the plane asks for, and says how they ended.

Standard input is a stream socket to the plane. Either side sends frames: four bytes of length, then
JSON. The plane's ``{"id", "argv", "env", "cwd", "terminal"}`` brings three file descriptors with its length, the
command's standard streams; its ``{"id", "signal"}`` goes to a command's process group. The answers
are ``{"ready": true}`` once, and for each command ``{"id", "code"}`` or ``{"id", "signal"}`` at its
end. When the socket closes this program ends, and with it the sandbox.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from typing import Any

__all__ = ["Attendant"]

LENGTH = struct.Struct("!I")
AT_TERMINAL = [sys.executable, "-I", "-S", os.path.join(os.path.dirname(__file__), "terminal.py")]  # noqa: PTH118, PTH120 - pathlib takes 10 ms to load
NOT_FOUND, NOT_RUNNABLE = 127, 126  # what a shell says


class Attendant:
    """Runs commands until the plane goes away."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._sending = threading.Lock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def serve(self) -> None:
        """Do what the plane asks until it closes the channel."""
        self._say({"ready": True})
        while (order := self._hear()) is not None:
            request, streams = order
            if "argv" in request:
                self._start(request, streams)
            else:
                self._signal(request["id"], request["signal"])

    def _start(self, request: dict[str, Any], streams: list[int]) -> None:
        try:
            process = subprocess.Popen(
                [*AT_TERMINAL, *request["argv"]] if request["terminal"] else request["argv"],
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                env=request["env"],
                cwd=request["cwd"],
                start_new_session=True,
            )
        except OSError as error:
            os.write(streams[2], f"{error.filename}: {error.strerror}\n".encode())
            missing = isinstance(error, FileNotFoundError)
            self._say({"id": request["id"], "code": NOT_FOUND if missing else NOT_RUNNABLE})
        else:
            self._running[request["id"]] = process
            waiting = threading.Thread(target=self._await, args=(request["id"], process))
            waiting.daemon = True
            waiting.start()
        finally:
            for stream in streams:
                os.close(stream)

    def _await(self, identity: str, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        del self._running[identity]
        self._say(
            {"id": identity, "code": code} if code >= 0 else {"id": identity, "signal": -code}
        )

    def _signal(self, identity: str, number: int) -> None:
        process = self._running.get(identity)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def _say(self, message: dict[str, object]) -> None:
        body = json.dumps(message).encode()
        with self._sending, contextlib.suppress(OSError):
            self._channel.sendall(LENGTH.pack(len(body)) + body)

    def _hear(self) -> tuple[dict[str, Any], list[int]] | None:
        """Take one frame with the descriptors that came with it; None at the end."""
        try:
            head, streams, _flags, _address = socket.recv_fds(self._channel, LENGTH.size, 3)
            head += self._exactly(LENGTH.size - len(head))
            return json.loads(self._exactly(*LENGTH.unpack(head))), list(streams)
        except (OSError, EOFError):
            return None

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._channel.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data


if __name__ == "__main__":
    # Whoever wants to end the sandbox tells the plane. What is ignored stays so in the commands that
    # are started; a handler does not.
    signal.signal(signal.SIGINT, lambda *_: None)
    with socket.socket(fileno=os.dup(0)) as to_plane:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        Attendant(to_plane).serve()
