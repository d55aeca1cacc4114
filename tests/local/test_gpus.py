"""GPUs are handed out one by one, and never twice."""

from __future__ import annotations

import os
import stat
from itertools import combinations
from pathlib import Path

import pytest

from modalkit.local.containers.gpus import Gpu, Gpus, find_gpus

LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-00000000-{seed})
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-11111111-{seed})
"""
SLICES = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-a)
  MIG 1g.5gb      Device  0: (UUID: MIG-1)
  MIG 1g.5gb      Device  1: (UUID: MIG-2)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-b)
"""


def stand_in(folder: Path, listing: str) -> str:
    """Write a command that stands in for ``nvidia-smi`` and return a PATH that finds it first."""
    command = folder / "nvidia-smi"
    command.write_text(
        f"#!/bin/sh\n# A stand-in: lists GPUs that are not there.\ncat <<END\n{listing}END\n"
    )
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def two_gpus(tmp_path: Path) -> dict[str, str]:
    """Variables under which this machine seems to have two GPUs of its own."""
    locks = tmp_path / "locks"
    locks.mkdir()
    return {"PATH": stand_in(tmp_path, LISTING.format(seed=tmp_path.name)), "TMPDIR": str(locks)}


def told(output: str, word: str) -> list[tuple[set[str], float, float]]:
    lines = [line.split() for line in output.splitlines() if line.startswith(f"{word} ")]
    return [(set(names.split(",")), float(began), float(ended)) for _, names, began, ended in lines]


def assert_never_shared(held: list[tuple[set[str], float, float]]) -> None:
    for (mine, began, ended), (others, their_begin, their_end) in combinations(held, 2):
        if mine & others:
            assert ended <= their_begin or their_end <= began


def test_containers_share_no_gpu(local, two_gpus):
    """Functions that want one GPU each get different ones while they run."""
    done = local("modal", "run", "gpus.py::share", **two_gpus)
    assert done.returncode == 0, done.stderr
    held = told(done.stdout, "one")
    assert len(held) == 6
    assert all(len(names) == 1 for names, _, _ in held)
    assert set.union(*(names for names, _, _ in held)) <= {"0", "1"}
    assert_never_shared(held)


def test_a_count_takes_as_many_and_others_wait(local, two_gpus):
    """`gpu="H100:2"` takes two; whoever comes then waits, is told so, and gets them afterwards."""
    done = local("modal", "run", "gpus.py::pairs", **two_gpus)
    assert done.returncode == 0, done.stderr
    held = told(done.stdout, "some")
    assert [len(names) for names, _, _ in held] == [2, 1, 2]
    assert_never_shared(held)
    assert "waits for a GPU" in done.stderr


def test_a_function_without_gpu_sees_none(local, two_gpus):
    """A function that asks for no GPU is shown none."""
    done = local("modal", "run", "gpus.py::plain", **two_gpus)
    assert done.returncode == 0, done.stderr
    assert "none ''" in done.stdout


def no_gpus(tmp_path: Path) -> dict[str, str]:
    return {"PATH": stand_in(tmp_path, "")}


def test_without_gpus_a_function_runs_and_it_is_said_once(local, tmp_path):
    """On a machine without GPUs the function runs, with one notice."""
    done = local("modal", "run", "gpus.py::share", **no_gpus(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(told(done.stdout, "one")) == 6
    assert done.stderr.count("this machine has none") == 1


def test_strict_refuses_a_gpu_that_is_not_there(local, tmp_path):
    """With --strict-gpu the caller gets an error that says what is missing."""
    done = local("--strict-gpu", "modal", "run", "gpus.py::single", **no_gpus(tmp_path))
    assert done.returncode == 1
    assert "asks for gpu=H100 and this machine has none" in done.stdout + done.stderr


def test_slices_stand_for_their_device(tmp_path, monkeypatch):
    """A device that is cut into slices is handed out by slice."""
    monkeypatch.setenv("PATH", stand_in(tmp_path, SLICES))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [gpu.name for gpu in find_gpus()] == ["MIG-1", "MIG-2", "1"]


def test_only_what_the_plane_may_use_is_handed_out(tmp_path, monkeypatch):
    """CUDA_VISIBLE_DEVICES around the plane limits it, by number or UUID."""
    monkeypatch.setenv("PATH", stand_in(tmp_path, LISTING.format(seed="x")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-11111111-x")
    assert [gpu.name for gpu in find_gpus()] == ["1"]


def test_planes_of_one_machine_keep_out_of_each_others_way(tmp_path):
    """What one local Modal has taken another does not get until it is given back."""
    devices = [Gpu("0", "a model", "GPU-0"), Gpu("1", "a model", "GPU-1")]
    mine, theirs = (Gpus(lambda: devices, tmp_path / "locks") for _ in range(2))
    lease = mine.take(1)
    assert lease is not None
    assert theirs.take(2) is None
    other = theirs.take(1)
    assert other is not None
    assert {gpu.name for gpu in (*lease.devices, *other.devices)} == {"0", "1"}
    lease.release()
    other.release()
    assert theirs.take(2) is not None
