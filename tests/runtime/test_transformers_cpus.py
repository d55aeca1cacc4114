"""How the engine finds out how many threads a call is fastest with."""

from __future__ import annotations

import time

import pytest
import torch

from modalkit.runtime.transformers.cpus import Workers


@pytest.fixture
def two_threads():
    """PyTorch with two threads, put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def used(workers, seconds_of, calls):
    """Make calls that take so long by thread count; which counts were used."""
    counts = []
    for _ in range(calls):
        with workers.fitted(16):
            threads = torch.get_num_threads()
            counts.append(threads)
            time.sleep(seconds_of(threads))
    return counts


def test_one_call_that_was_held_up_changes_nothing(two_threads):
    """A single slow call does not send the engine to the slower number of threads."""
    workers = Workers()
    used(workers, lambda threads: 0.001 if threads == 2 else 0.004, 20)
    used(workers, lambda threads: 0.05, 1)
    assert set(used(workers, lambda threads: 0.001 if threads == 2 else 0.004, 20)) == {2}


def test_a_change_of_circumstances_is_noticed(two_threads):
    """When the other number of threads becomes faster, a trial finds it."""
    workers = Workers()
    used(workers, lambda threads: 0.001 if threads == 2 else 0.01, 20)
    counts = used(workers, lambda threads: 0.01 if threads == 2 else 0.001, 300)
    assert counts[-50:].count(1) >= 45
