"""A container forked from the zygote is what one started afresh would be."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from modalkit.local.processes.isolation import Isolation
from modalkit.local.processes.zygotes import CONTAINER_MODULE, Zygotes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no zygote elsewhere")


@pytest.fixture(scope="session")
def namespaces(tmp_path_factory) -> None:
    """Skip where this machine allows no namespaces."""
    if not Isolation.probe(tmp_path_factory.mktemp("probe")).namespaces:
        pytest.skip("this machine allows no namespaces")


@pytest.fixture(scope="module")
def descriptions(plane, client) -> tuple[dict, dict]:
    """What a program sees of its process: forked, and started afresh."""
    import modal

    name = plane.deploy("fresh")
    forked, started = (
        modal.Function.from_name(name, each, client=client).remote()
        for each in ("forked", "started")
    )
    return forked, started


def test_containers_are_forked(descriptions):
    """A plain function's container is a fork; one with a variable read at the start is not."""
    forked, started = descriptions
    assert not forked["cold"]
    assert started["cold"]


@pytest.mark.parametrize(
    "what",
    [
        "argv",
        "orig_argv",
        "main",
        "imported",
        "ours",
        "executable",
        "flags",
        "path",
        "streams",
        "cwd",
        "signals",
        "blocked",
        "files",
        "daemon_threads",
        "main_thread",
        "faulthandler",
        "session",
        "tty",
    ],
)
def test_a_fork_looks_like_a_fresh_start(descriptions, what):
    """What a program can ask about its process is the same either way."""
    forked, started = descriptions
    assert forked[what] == started[what]


def test_a_fork_has_the_containers_variables_alone(descriptions):
    """Nothing of the zygote's environment is left."""
    forked, started = descriptions
    assert forked["environment"] | {"MALLOC_ARENA_MAX": "8"} == started["environment"]


def test_forks_share_no_randomness(function):
    """Two containers of one zygote draw different numbers, from every source."""
    first = function("fresh", "dice").remote()
    second = function("fresh", "other_dice").remote()
    assert not set(first) & set(second)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_function_may_start_processes(function, method):
    """A function may use multiprocessing, however that starts its children."""
    assert function("fresh", "children").remote(method) == [0, 1, 4, 9]


def test_the_time_zone_is_the_containers(function):
    """TZ is honoured though the process was started without it."""
    assert function("fresh", "zone").remote() == "+0900"


def test_variables_that_python_reads_at_its_start_are_honoured(function):
    """PYTHON* variables take effect: such a container is started afresh."""
    assert function("fresh", "read_at_start").remote() == (1, True)


def test_a_file_that_shadows_a_loaded_module_wins(local):
    """A user's own /root/cbor2.py is what its container imports, as after a fresh start."""
    done = local("modal", "run", "shadowing.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the image's own, started afresh: True" in done.stdout


def zygote_of(processes, plane_pid: int) -> list[int]:
    def words(pid: int) -> list[bytes]:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return []

    def parent(pid: int) -> int:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    below = processes.below(plane_pid)
    return [pid for pid in below if b"zygote" in words(pid) and parent(pid) == plane_pid]


def test_a_zygote_that_is_killed_while_it_loads_is_replaced(processes):
    """Its interpreter is not given up: the next container comes from a zygote again."""
    argv = [sys.executable, "-m", CONTAINER_MODULE]

    async def kill_and_find_again() -> bool:
        zygotes = Zygotes({"PATH": os.environ["PATH"]})
        try:
            first = await zygotes.find(argv)
            assert first is not None
            for pid in zygote_of(processes, os.getpid()):
                os.kill(pid, signal.SIGKILL)
            await first.ended
            return await zygotes.find(argv) not in {None, first}
        finally:
            await zygotes.close()

    assert asyncio.run(kill_and_find_again())


def test_a_killed_zygote_takes_no_container_with_it_and_is_replaced(
    function, plane, processes, wait_until
):
    """`kill -9` of the zygote leaves running containers alone, and the next one starts all the same."""
    work = function("fresh", "forked")
    before = work.remote()
    for pid in zygote_of(processes, plane.process.pid):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not processes.alive(pid), "the zygote is gone")
    assert work.remote()["cold"] == before["cold"]
    assert len(function("fresh", "dice").remote()) == 5
    assert function("fresh", "after_the_zygote").remote()
    wait_until(lambda: zygote_of(processes, plane.process.pid), "there is a new zygote")
