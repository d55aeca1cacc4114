"""An engine process: start it, watch it, forward what it prints, stop it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from errno import ENOENT
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, TextIO

from ..errors import EngineExitedError, EngineTimeoutError
from .lines import LineSplitter

__all__ = ["EngineProcess"]

_GUARD = Path(__file__).with_name("guard.py")
_TAIL_LINES = 30
_POLL_S = 0.03  # the readiness route answers in about a millisecond
_REQUEST_TIMEOUT_S = 30  # for one that accepts and does not answer
_LAST_WORDS_S = 0.5  # what is still in the pipe when a process ends
_PROGRESS_S = 5.0  # between two looks at a progress bar
_PIECE = 65_536


class EngineProcess:
    """A child process in a session of its own, whose death is noticed at once.

    Between it and this process stands a guard (`guard`), which ends everything the engine started
    when either of the two ends, however that happens.

    Args:
        title: The engine's name, for messages.
        argv: Its command line, started without a shell.
        environment: Variables set on top of this process's own.
        secrets: Values that never leave in a forwarded line; each is replaced by ``***``.
        output: Where its lines go; default this process's stderr.
        on_line: Told every line, secrets removed, in a thread of its own.
        on_death: Told once, in a thread of its own, when it ends without having been asked to.

    Raises:
        FileNotFoundError: There is no such program.
    """

    def __init__(
        self,
        title: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        secrets: Sequence[str] = (),
        output: TextIO | None = None,
        on_line: Callable[[str], None] | None = None,
        on_death: Callable[[EngineExitedError], None] | None = None,
    ) -> None:
        self.title = title
        self._secrets = [value for value in secrets if value]
        self._output = output or sys.stderr
        self._on_line, self._on_death = on_line, on_death
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._code = 0
        self._pid = 0
        self._known, self._ended = threading.Event(), threading.Event()
        self._stopping = False
        self._guard, self._lifeline = _start(argv, {**os.environ, **environment})
        assert self._guard.stdout is not None  # noqa: S101 - asked for
        self._reader = self._thread("output", self._forward, self._guard.stdout)
        self._watcher = self._thread("watch", self._watch)

    @property
    def pid(self) -> int:
        """Its process id, which is the id of its session too; 0 if it never started."""
        self._known.wait()
        return self._pid

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The end of what it printed, secrets removed."""
        return tuple(self._tail)

    def check(self) -> None:
        """Raise if it has ended.

        Raises:
            EngineExitedError: With its exit code and last lines.
        """
        if self._ended.is_set():
            self._reader.join(timeout=_LAST_WORDS_S)
            raise EngineExitedError(self.title, self._code, self.last_lines)

    def ended_within(self, seconds: float) -> bool:
        """Wait for its end, which follows a lost connection by a moment; whether it came."""
        return self._ended.wait(seconds)

    def wait_ready(
        self,
        host: str,
        port: int,
        path: str,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> float:
        """Wait until the readiness route answers 200; return the seconds it took.

        Raises:
            EngineExitedError: It ended first.
            EngineTimeoutError: It was alive but not ready after ``timeout_s`` seconds.
        """
        started = time.monotonic()
        while True:
            self.check()
            left = started + timeout_s - time.monotonic()
            if left <= 0:
                raise EngineTimeoutError(self.title, time.monotonic() - started, self.last_lines)
            if _answers_ok(host, port, path, min(left, _REQUEST_TIMEOUT_S), headers or {}):
                return time.monotonic() - started
            self._ended.wait(_POLL_S)

    def stop(self, grace_s: float) -> None:
        """Ask it to stop, give requests under way ``grace_s`` seconds, then end all it started."""
        self._stopping = True
        if grace_s > 0 and not self._ended.is_set():
            self._guard.send_signal(signal.SIGTERM)
            self._ended.wait(grace_s)
        self._end_now()

    def _end_now(self) -> None:
        """Let go of the lifeline: the guard kills what is left, then ends."""
        with suppress(OSError):
            self._lifeline.shutdown(socket.SHUT_WR)
        self._watcher.join()
        self._reader.join(timeout=_LAST_WORDS_S)
        self._lifeline.close()

    def _watch(self) -> None:
        """Hear of the engine's end from its guard, or of the guard's, and tell."""
        with self._lifeline.makefile("r") as said:
            self._pid = int(said.readline() or 0)
            self._known.set()
            self._code = int(said.readline() or -signal.SIGKILL)
        self._ended.set()
        if not self._stopping and self._on_death is not None:
            try:
                self.check()
            except EngineExitedError as death:
                self._on_death(death)
        self._guard.wait()

    def _forward(self, pipe: IO[bytes]) -> None:
        lines, told = LineSplitter(), time.monotonic()
        while piece := os.read(pipe.fileno(), _PIECE):
            for line in lines.feed(piece):
                self._tell(line)
            if lines.showing and time.monotonic() - told > _PROGRESS_S:  # a bar, half way
                told = time.monotonic()
                self._print(self._masked(lines.showing))
        for line in lines.rest():
            self._tell(line)

    def _tell(self, raw: str) -> None:
        line = self._masked(raw)
        self._tail.append(line)
        self._print(line)
        if self._on_line is not None:
            self._on_line(line)

    def _print(self, line: str) -> None:
        with suppress(OSError, ValueError):  # whoever read it has gone; the engine must not block
            print(line, file=self._output, flush=True)

    def _masked(self, line: str) -> str:
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return line

    def _thread(self, name: str, target: Callable[..., None], *given: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=given, name=f"engine-{name}", daemon=True)
        thread.start()
        return thread


def _start(
    argv: Sequence[str], environment: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a guard that starts the program; both, with our end of the lifeline."""
    if shutil.which(argv[0], path=environment.get("PATH")) is None:
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), argv[0])
    ours, its = socket.socketpair()
    with its:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(its.fileno()), *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us first
            pass_fds=(its.fileno(),),
            bufsize=0,
        )
    return guard, ours


def _answers_ok(
    host: str, port: int, path: str, timeout_s: float, headers: Mapping[str, str]
) -> bool:
    connection = HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
