"""Processes that lost whoever should have ended them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

__all__ = ["end_marked"]


def end_marked(variable: str, value: str) -> None:
    """Kill every process that was started with a variable of that value.

    What is left of a container without a PID namespace whose launcher was killed is known by the
    variables it was given, wherever it hides. Elsewhere than on Linux nothing is done.
    """
    if sys.platform != "linux":
        return
    mark = f"{variable}={value}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
