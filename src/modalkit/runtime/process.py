"""An engine process: start it, watch it, forward what it prints, stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import IO, TextIO

from ..errors import EngineExitedError, EngineTimeoutError

__all__ = ["EngineProcess"]

_TAIL_LINES = 30
_POLL_S = 0.03  # the readiness route answers in about a millisecond
_REQUEST_TIMEOUT_S = 30  # for one that accepts and does not answer


class EngineProcess:
    """A child process in a process group of its own, whose death is noticed at once.

    Args:
        title: The engine's name, for messages.
        argv: Its command line, started without a shell.
        environment: Variables set on top of this process's own.
        secrets: Values that never leave in a forwarded line; each is replaced by ``***``.
        output: Where its lines go; default this process's stderr.
    """

    def __init__(
        self,
        title: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        secrets: Sequence[str] = (),
        output: TextIO | None = None,
    ) -> None:
        self.title = title
        self._secrets = [value for value in secrets if value]
        self._output = output or sys.stderr
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._process = subprocess.Popen(
            list(argv),
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its helpers end with it, and Ctrl-C reaches us first
        )
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        self._reader = threading.Thread(
            target=self._forward, args=(self._process.stdout,), name="engine-output", daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id, which is the id of its group too."""
        return self._process.pid

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The end of what it printed, secrets removed."""
        return tuple(self._tail)

    def check(self) -> None:
        """Raise if it has ended.

        Raises:
            EngineExitedError: With its exit code and last lines.
        """
        code = self._process.poll()
        if code is not None:
            self._reader.join(timeout=1)  # its last words may still be in the pipe
            raise EngineExitedError(self.title, code, self.last_lines)

    def wait_ready(self, host: str, port: int, path: str, timeout_s: float) -> float:
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
            if _answers_ok(host, port, path, min(left, _REQUEST_TIMEOUT_S)):
                return time.monotonic() - started
            time.sleep(_POLL_S)

    def stop(self, grace_s: float) -> None:
        """Ask it to stop, give requests under way ``grace_s`` seconds, then end its whole group."""
        if self._process.poll() is None:
            self._signal_group(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=grace_s)
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=1)

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # nothing of the group is left
            os.killpg(self.pid, number)

    def _forward(self, pipe: IO[bytes]) -> None:
        for raw in pipe:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            for secret in self._secrets:
                line = line.replace(secret, "***")
            self._tail.append(line)
            print(line, file=self._output, flush=True)


def _answers_ok(host: str, port: int, path: str, timeout_s: float) -> bool:
    connection = HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
