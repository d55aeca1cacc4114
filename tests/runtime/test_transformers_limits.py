"""What the transformers engine allows itself: CPUs and memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from modalkit.errors import DeclarationError
from modalkit.runtime.transformers import EngineOptions
from modalkit.runtime.transformers.cpus import Workers, usable_cpus
from modalkit.runtime.transformers.memory import free_bytes, plan_memory

CPUS = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("content", "cpus"),
    [("100000 100000", 1), ("150000 100000", min(2, CPUS)), ("max 100000", CPUS), ("odd", CPUS)],
)
def test_a_container_uses_the_cpus_it_is_granted(tmp_path: Path, content: str, cpus: int):
    """A quota below the host's cores limits the threads; nonsense does not."""
    quota = tmp_path / "cpu.max"
    quota.write_text(content)
    assert usable_cpus(quota) == cpus


def test_without_a_control_group_all_cpus_are_used(tmp_path: Path):
    """A laptop has no quota file."""
    assert usable_cpus(tmp_path / "missing") == CPUS


@pytest.mark.parametrize("faster", [1, 2])
def test_calls_are_made_with_the_threads_that_were_faster(faster: int):
    """Both ways are tried; then nearly every call of that size is made the faster way."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    workers, used = Workers(), []
    for _ in range(50):
        with workers.fitted(32):
            used.append(torch.get_num_threads())
            time.sleep(0.001 if used[-1] == faster else 0.02)
    torch.set_num_threads(before)
    assert set(used) == {1, 2}
    assert used.count(faster) > 40


def options(**chosen: int) -> EngineOptions:
    return EngineOptions("model", max_batch_size=4, **chosen)


def test_the_cache_is_no_larger_than_a_full_batch_needs():
    """Four answers of a hundred tokens, with plenty of memory."""
    plan = plan_memory(options(), model_context=100, bytes_per_token=1, budget_bytes=10**9)
    assert (plan.context_length, plan.max_cells) == (100, 4 * 101)


def test_memory_limits_the_cache():
    """Less than a full batch fits, but one full answer does."""
    plan = plan_memory(options(), model_context=100, bytes_per_token=10, budget_bytes=2000)
    assert (plan.context_length, plan.max_cells) == (100, 200)


def test_a_context_nobody_asked_for_is_lowered():
    """The model could read more than fits here."""
    plan = plan_memory(options(), model_context=1000, bytes_per_token=10, budget_bytes=2000)
    assert (plan.context_length, plan.max_cells) == (199, 200)


@pytest.mark.parametrize(
    ("chosen", "remedy"),
    [
        ({"context_length": 500}, "--context-length 199"),
        ({"context_length": 500, "max_kv_tokens": 300}, "--context-length 299"),
        ({"context_length": 2000}, "--context-length 1000"),
    ],
)
def test_a_context_that_cannot_be_is_refused(chosen: dict[str, int], remedy: str):
    """What was asked for is not silently changed; the message says what is possible."""
    with pytest.raises(DeclarationError, match=remedy):
        plan_memory(options(**chosen), model_context=1000, bytes_per_token=10, budget_bytes=2000)


def test_free_memory_is_measured():
    """A share of what this machine has left."""
    assert 0 < free_bytes(torch.device("cpu")) < 2**50
