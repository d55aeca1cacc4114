"""How many CPUs this container may really use.

PyTorch starts a thread for every core of the host. In a container that is granted a few of
them, those threads wait for each other spinning, and a step takes many times as long.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

__all__ = ["Workers", "usable_cpus"]

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# Below this, a call is so short that handing its parts to threads costs what they save; and
# when others use the CPUs too, waiting for a thread that is not scheduled costs far more.
_WORTH_SHARING_FLOPS = 2.5e7
_FLOPS_PER_PARAMETER = 2


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


class Workers:
    """Sets PyTorch's threads for each model call: one for little work, all for much.

    Args:
        parameters: The model's size; the work of a call is proportional to it and its tokens.
    """

    def __init__(self, parameters: int) -> None:
        self._flops_per_token = _FLOPS_PER_PARAMETER * parameters
        self._most = torch.get_num_threads()

    def fit(self, tokens: int) -> None:
        """Choose for a call with this many new tokens, in the thread that makes the call."""
        worth = tokens * self._flops_per_token >= _WORTH_SHARING_FLOPS
        torch.set_num_threads(self._most if worth else 1)
