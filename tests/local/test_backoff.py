"""A function whose containers do not start is tried again, ever more rarely."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.local.containers.backoff import LONGEST_PAUSE_S, Backoff


@given(st.integers(1, 5000), st.floats(0, 1e9))
def test_pauses_double_up_to_a_minute(failures: int, now: float):
    """Each failed start in a row makes the next pause twice as long, and no longer than a minute."""
    backoff = Backoff()
    pauses = [backoff.failed(now) for _ in range(failures)]
    assert pauses[0] == 2.0
    assert pauses[-1] <= LONGEST_PAUSE_S
    for before, after in pairwise(pauses):
        assert after == min(2 * before, LONGEST_PAUSE_S)
    assert backoff.holds(now)
    assert not backoff.holds(now + pauses[-1] + 1)


def test_a_start_that_works_ends_the_pauses():
    """After a success the next failure is the first again."""
    backoff = Backoff()
    for _ in range(4):
        backoff.failed(100.0)
    backoff.forget()
    assert not backoff.holds(100.0)
    assert backoff.failed(100.0) == 2.0


BROKEN = """
import time
import modal

app = modal.App("broken-start")

if not modal.is_local():
    print(f"tried at {time.monotonic()}")
    raise RuntimeError("it never starts")

@app.function(min_containers=1)
def kept():
    return 1
"""


@pytest.mark.slow
def test_a_kept_container_that_never_starts_is_tried_ever_more_rarely(
    plane, tmp_path: Path, wait_until
):
    """`min_containers` of code that fails brings no storm of containers: the tries move apart."""
    file = tmp_path / "broken_start.py"
    file.write_text(BROKEN)
    assert plane.modal("deploy", str(file)).returncode == 0

    def tries() -> list[float]:
        log = plane.modal("app", "logs", "broken-start", "--tail", "1000").stdout
        return [float(moment) for moment in re.findall(r"tried at ([\d.]+)", log)]

    wait_until(lambda: len(tries()) >= 3, "it is tried three times")
    plane.modal("app", "stop", "broken-start", "-y")
    first, second, third, *_ = tries()
    assert second - first >= 1.9  # never sooner than the pause, however busy the machine is
    assert third - second >= 3.9
