"""Memory and CPU limits hold where this machine lets them be set."""

from __future__ import annotations

import os
from pathlib import Path

import modal
import pytest

from modalkit.local.processes.limits import Fences, Limits


@pytest.fixture(scope="module")
def limited():
    """Skip where this machine's control groups are not ours to make."""

    def need(limits: Limits) -> None:
        fence = Fences().make(limits)
        fence.remove()
        if not fence.folders:
            pytest.skip("this machine lets no limits be set")

    return need


def test_memory_up_to_the_limit_is_there(function, limited):
    """A function may use memory beyond its request, up to its limit."""
    limited(Limits(256, 0))
    assert function("limits", "fill").remote(100) == 100 * 1024 * 1024


def test_running_out_of_memory_is_called_that(function, limited):
    """A container that exceeds its memory limit is killed, and its caller is told why."""
    limited(Limits(256, 0))
    with pytest.raises(Exception, match="ran out of memory, its limit is 256 MiB"):
        function("limits", "fill").remote(400)


def test_a_cpu_limit_holds(function, limited):
    """A function gets no more processor time than its limit, over several scheduler periods."""
    limited(Limits(0, 250))
    assert function("limits", "spin").remote(0.4) < 0.5


_FILL = "import os, sys; len(bytearray(os.urandom(1024)) * 1024 * int(sys.argv[1]))"
_SPIN = """
import time
began = time.perf_counter()
while time.process_time() < 0.4:
    pass
print(time.process_time() / (time.perf_counter() - began))
"""


def test_limits_hold_in_sandboxes(client, limited):
    """What a sandbox's commands take together stays below its limits, and the log says if not."""
    limited(Limits(256, 250))
    app = modal.App.lookup("limited-sandboxes", create_if_missing=True, client=client)
    sandbox = modal.Sandbox.create(app=app, client=client, memory=(64, 256), cpu=(0.1, 0.25))
    try:
        assert float(sandbox.exec("python", "-c", _SPIN).stdout.read()) < 0.5
        assert sandbox.exec("python", "-c", _FILL, "100").wait() == 0
        assert sandbox.exec("python", "-c", _FILL, "400").wait() == 137
        assert sandbox.exec("echo", "it goes on").wait() == 0
    finally:
        sandbox.terminate()
    sandbox.wait(raise_on_termination=False)
    said = "".join(entry.message for entry in app.logs.tail(20))
    assert "ran out of memory: its limit is 256 MiB" in said


def test_groups_are_removed(limited):
    """No control group is left when a container has ended."""
    limited(Limits(256, 0))
    fences = Fences()
    fence = fences.make(Limits(256, 500))
    assert all(folder.exists() for folder in fence.folders)
    fence.remove()
    assert not any(folder.exists() for folder in fence.folders)


def test_what_a_killed_plane_left_is_removed(limited):
    """Groups of a plane that is gone are removed by the next one."""
    limited(Limits(256, 0))
    first = Fences().make(Limits(256, 0)).folders[0]
    stale = first.with_name("modalkit-4194999-1")
    stale.mkdir()
    first.rmdir()
    Fences().make(Limits(256, 0)).remove()
    assert not stale.exists()


def test_no_limit_makes_no_group():
    """A function without limits stays in the plane's own group."""
    assert Fences().make(Limits(0, 0)).entrances == []
    assert not list(Path("/sys/fs/cgroup").glob(f"**/modalkit-{os.getpid()}-*"))
