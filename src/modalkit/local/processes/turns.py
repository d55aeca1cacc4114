"""How the processors are shared out between a plane with its containers and everybody else."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["take_turns"]


def take_turns() -> None:
    """Let this process, and whatever it starts, interrupt nobody when it is woken.

    A plane and its containers wake each other for every message. On a busy machine each of these
    would take the processor from the one that still works, and hand over one message where a moment
    later it were several. On a free processor nothing changes, and shares stay fair. It is Linux's
    ``SCHED_BATCH``; a policy that somebody chose, as with ``chrt``, stays as it is.
    """
    if sys.platform != "linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
