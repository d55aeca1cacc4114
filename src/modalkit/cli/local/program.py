"""The command behind ``modalkit local``: found, started, signalled and waited for."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ...errors import LocalModalError
from ...local.address import pointed_at
from .hosting import STOP_SIGNALS

__all__ = ["end_program", "start_program", "wait_for"]

_SIGNALLED = 128
_PR_SET_PDEATHSIG = 1


async def start_program(words: list[str], exports: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start a command that meets the local Modal and nothing of the user's account."""
    environment = pointed_at(exports, os.environ)
    # The command finds the Python (and modal) that runs the plane before any other.
    here = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([here, environment.get("PATH", os.defpath)])
    # At a terminal Ctrl-C reaches the command by itself. Elsewhere a signal to this process is meant
    # for the command, and a signal to this process's group must not reach it twice.
    return await asyncio.create_subprocess_exec(
        *_resolved(words, environment["PATH"]),
        env=environment,
        process_group=None if sys.stdin.isatty() else 0,
        preexec_fn=_die_with_parent(),
    )


async def wait_for(child: asyncio.subprocess.Process, stopped: asyncio.Event) -> int:
    """Wait for the command, passing signals on to it; return its exit code as a shell would."""
    loop = asyncio.get_running_loop()

    def pass_on(number: signal.Signals) -> None:
        stopped.set()
        with contextlib.suppress(ProcessLookupError):
            if not sys.stdin.isatty():
                os.killpg(child.pid, number)
            elif number != signal.SIGINT:
                child.send_signal(number)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, pass_on, number)
    if stopped.is_set():  # while the plane was starting
        pass_on(signal.SIGTERM)
    code = await child.wait()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    return code if code >= 0 else _SIGNALLED - code


def end_program(child: asyncio.subprocess.Process) -> None:
    """Kill a command whose plane did not start."""
    with contextlib.suppress(ProcessLookupError):
        child.kill()


def _resolved(words: list[str], path: str) -> list[str]:
    """Return the command with its program's place, so that a missing one is a clear error."""
    if words[0] == "modal":
        return [sys.executable, "-m", "modal", *words[1:]]
    program = shutil.which(words[0], path=path)
    if program is None:
        msg = f"There is no command {words[0]!r} to run against the local Modal."
        raise LocalModalError(msg)
    return [program, *words[1:]]


def _die_with_parent() -> Callable[[], None] | None:
    """Return what a child does first so that it ends when this process is killed."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) and None
