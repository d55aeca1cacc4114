"""Run by path, it imports nothing of modalkit: no engine outlives who started it.

    python -I -S guard.py LIFELINE PROGRAM ARGUMENT...

LIFELINE is one end of a socket pair. When its other end closes, however its holder died, or when the
program ends, everything the program started is killed, processes in sessions of their own included.
The lifeline is told two numbers, a line each: the program's process id at once, and how it ended as
soon as it has: its exit code, or minus a signal's number.
SIGTERM is passed on to the program alone, so that it can finish what it does with its helpers alive.

There are two of it, a keeper and its child, the guard: whichever of them is killed, the other is the
heir of every process that has lost its parent, and ends them all.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["main"]

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36
_NOT_STARTED = 127
_LOOK_S = 1.0  # for an owner whose end of the lifeline somebody else inherited
_PAUSE_S = 0.002


def main(arguments: list[str]) -> int:
    """Run a program under guard; its exit code, negative for a signal."""
    owner, keeper = os.getppid(), os.getpid()
    wakeups = _wakeups()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    guard = os.fork()
    if guard == 0:
        return _guard(arguments, keeper)
    os.close(
        int(arguments[0])
    )  # it ends with the guard, which tells the owner of this one's end too
    _let_go_of_streams()
    _pass_on_to(guard)
    status = _until_it_ends(guard, owner, wakeups)
    _end_everything(guard)
    return status


def _guard(arguments: list[str], keeper: int) -> int:
    """Be the keeper's child: run the program and tell of it."""
    lifeline = socket.socket(fileno=int(arguments[0]))
    lifeline.set_inheritable(False)  # the program's helpers would keep it open
    wakeups = _wakeups()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGCHLD)  # wakes this process, which then looks
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    program = os.fork()
    if program == 0:
        _become(arguments[1:], guard)
    _say(lifeline, program)
    _let_go_of_streams()
    _pass_on_to(program)
    status = _until_it_ends(program, keeper, wakeups, lifeline.fileno())
    _say(lifeline, status)
    _end_everything(program)
    return status


def _wakeups() -> int:
    """Return what becomes readable with every signal."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def _become(command: list[str], guard: int) -> None:
    """Turn this forked process into the program."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # should the guard itself be killed
    if os.getppid() != guard:  # it was, a moment ago
        os._exit(_NOT_STARTED)
    try:
        os.execvp(command[0], command)  # noqa: S606 - an argv, never a shell string
    except OSError as error:
        sys.stderr.write(f"{command[0]!r} cannot be started: {error.strerror}.\n")
        sys.stderr.flush()
    finally:
        os._exit(_NOT_STARTED)


def _let_go_of_streams() -> None:
    """The program's output ends when its processes have ended, not when the guard has."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)


def _pass_on_to(child: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: _send(child, signal.SIGTERM))


def _until_it_ends(child: int, owner: int, *readable: int) -> int:
    """Wait for a child's end, or bring it about when the owner is gone.

    Args:
        child: Its process id.
        owner: The parent of this process, as long as it lives.
        readable: What wakes this process; then the lifeline, which is read only when it ends.
    """
    while True:
        ready, _, _ = select.select(readable, [], [], _LOOK_S)
        if readable[0] in ready:
            os.read(readable[0], 4096)
        if (status := _reaped(child)) is not None:
            return status
        if set(readable[1:]) & set(ready) or os.getppid() != owner:
            _send(child, signal.SIGKILL)
            return -int(signal.SIGKILL)


def _reaped(wanted: int) -> int | None:
    """Collect every child that has ended; the exit status of one if it is among them."""
    status: int | None = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == wanted:
                status = os.waitstatus_to_exitcode(ended[1])
    return status


def _end_everything(program: int) -> None:
    """Kill the program's group, then whoever was handed to this process by a parent that died."""
    with suppress(OSError):
        os.killpg(program, signal.SIGKILL)
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for child in _children():
            _send(child, signal.SIGKILL)
        time.sleep(_PAUSE_S)


def _children() -> list[int]:
    mine = str(os.getpid())
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            if fields[1] == mine:
                found.append(int(stat.parent.name))
    return found


def _say(lifeline: socket.socket, number: int) -> None:
    with suppress(OSError):  # nobody is left to hear it
        lifeline.send(f"{number}\n".encode())


def _send(process: int, number: signal.Signals) -> None:
    with suppress(OSError):
        os.kill(process, number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":  # elsewhere the group and the lifeline have to do
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _end_like(status: int) -> None:
    """End as the program did, without a core file of the guard's own."""
    if status < 0:
        _prctl(_PR_SET_DUMPABLE, 0)
        with suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status & 0xFF)


if __name__ == "__main__":
    _end_like(main(sys.argv[1:]))
