"""How many CPUs this container may really use.

PyTorch starts a thread for every core of the host. In a container that is granted a few of
them, those threads wait for each other spinning, and a step takes many times as long.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["usable_cpus"]

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cpus(quota_file: Path = _QUOTA) -> int:
    """The CPUs this process may be scheduled on, or fewer when its control group grants fewer."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(allowed or 1, _granted(quota_file)))


def _granted(quota_file: Path) -> int:
    """Version 2 of control groups says "QUOTA PERIOD", or "max PERIOD" for no limit."""
    unlimited = 1 << 30
    try:
        quota, period = quota_file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return unlimited
    return unlimited if quota == "max" else math.ceil(int(quota) / int(period))
