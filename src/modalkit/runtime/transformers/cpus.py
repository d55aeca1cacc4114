"""How many CPUs this container may really use.

PyTorch starts a thread for every core of the host. In a container that is granted a few of
them, those threads wait for each other spinning, and a step takes many times as long.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch

__all__ = ["Workers", "usable_cpus"]

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_CALLS_BETWEEN_TRIALS = 128
_CALLS_PER_TRIAL = 3  # a majority of those remembered, so that a trial can change the choice


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
    """Finds, while the model runs, whether a call is faster in one thread or in all.

    It depends on the size of the call and on who else uses the CPUs: threads of a call wait for
    each other at every operation, so one that is not scheduled holds up all. Both ways are timed
    for calls of similar size; the faster is used and the other tried again now and then. The
    median of the last few calls counts, so that one call that was held up changes nothing.
    """

    def __init__(self) -> None:
        self._choices = sorted({1, torch.get_num_threads()})
        self._seconds: dict[tuple[int, int], deque[float]] = {}
        self._calls: Counter[int] = Counter()

    @contextmanager
    def fitted(self, tokens: int) -> Iterator[None]:
        """Make and time a call with this many new tokens, in the thread that makes it."""
        if len(self._choices) == 1:
            yield
            return
        size = tokens.bit_length()
        threads = self._choose(size)
        torch.set_num_threads(threads)
        started = time.perf_counter()
        yield
        self._learn((size, threads), time.perf_counter() - started)

    def _choose(self, size: int) -> int:
        self._calls[size] += 1
        ranked = sorted(self._choices, key=lambda count: self._typical((size, count)))
        is_trial = self._calls[size] % _CALLS_BETWEEN_TRIALS < _CALLS_PER_TRIAL
        return ranked[-1] if is_trial else ranked[0]

    def _typical(self, key: tuple[int, int]) -> float:
        """Seconds of a call; none until a trial's worth is known, so that it is tried first."""
        known = self._seconds.get(key, ())
        return median(known) if len(known) >= _CALLS_PER_TRIAL else 0.0

    def _learn(self, key: tuple[int, int], seconds: float) -> None:
        self._seconds.setdefault(key, deque(maxlen=2 * _CALLS_PER_TRIAL - 1)).append(seconds)
