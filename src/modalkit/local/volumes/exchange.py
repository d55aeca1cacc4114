"""The plane's side of ``remount.py``: what is mounted in a container changes while it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import LocalModalError

__all__ = ["FilesOpenError", "cover", "detached", "uncover"]

_BUSY = "busy "
_HELPER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("remount.py")))


class FilesOpenError(Exception):
    """The container has files open below the mount; it says which."""


@contextmanager
def detached(
    namespace_pid: int, target: str, folder: Path, *, read_only: bool
) -> Iterator[Callable[[str], None]]:
    """Stop a container and unmount ``target`` in it.

    Yields a function that mounts an overlay with the options it is given, made in ``folder``. The
    container goes on at the end; it ends if its helper is killed, which leaves it stopped.

    Raises:
        FilesOpenError: Something below ``target`` is in use; nothing was done.
        LocalModalError: The mounts could not be changed.
    """
    words = ["exchange", str(namespace_pid), target, str(folder), "1" if read_only else "0"]
    with subprocess.Popen(
        [*_HELPER, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as helper:

        def attach(options: str) -> None:
            if helper.stdin is not None:
                helper.stdin.write(options + "\n")
                helper.stdin.flush()
            _answer(helper)

        try:
            said = _answer(helper)
            if said.startswith(_BUSY):
                raise FilesOpenError(said.removeprefix(_BUSY))
            yield attach
        finally:
            _end_if_killed(helper, namespace_pid)


def cover(namespace_pid: int, target: str, folder: Path, options: str) -> None:
    """Mount an overlay, made in ``folder``, over a container's folder, which need not exist.

    Raises:
        LocalModalError: It could not be mounted.
    """
    _change("cover", str(namespace_pid), target, str(folder), options)


def uncover(namespace_pid: int, target: str) -> None:
    """Take away what was mounted over a container's folder.

    Raises:
        FilesOpenError: Something below ``target`` is in use; nothing was done.
        LocalModalError: It could not be unmounted.
    """
    said = _change("uncover", str(namespace_pid), target)
    if said.startswith(_BUSY):
        raise FilesOpenError(said.removeprefix(_BUSY))


def _change(*words: str) -> str:
    done = subprocess.run([*_HELPER, *words], capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        trouble = " ".join(done.stderr.strip().splitlines()[-1:])
        msg = f"What is mounted at {words[2]!r} could not be changed: {trouble}"
        raise LocalModalError(msg)
    return done.stdout.strip()


def _answer(helper: subprocess.Popen[str]) -> str:
    """Read a line, or raise what the helper died of."""
    said = helper.stdout.readline().strip() if helper.stdout else ""
    if not said:
        trouble = helper.stderr.read().strip().splitlines() if helper.stderr else []
        msg = f"A container's volume could not be mounted anew: {' '.join(trouble[-1:])}"
        raise LocalModalError(msg)
    return said


def _end_if_killed(helper: subprocess.Popen[str], namespace_pid: int) -> None:
    """End a container whose helper was killed: it is stopped, and may lack its volume."""
    if helper.stdin is not None:
        helper.stdin.close()
    if helper.wait() < 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(namespace_pid, signal.SIGKILL)
