"""A container ends when the plane wants it to, whatever became of its launcher."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from modalkit.local.processes.isolation import Isolation
from modalkit.local.processes.launcher import Launcher, Streams
from modalkit.local.processes.zygotes import Zygotes

PATIENCE_S = 100
SLEEP = "import time; time.sleep(1000)"


@pytest.fixture(params=[True, False], ids=["namespaces", "plain"])
def isolation(request, tmp_path: Path) -> Isolation:
    """With and without namespaces, where this machine has them."""
    if request.param and not Isolation.probe(tmp_path / "probe").namespaces:
        pytest.skip("this machine allows no namespaces")
    return Isolation(namespaces=request.param)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_stopped_launcher_does_not_keep_its_container(isolation, tmp_path, processes, wait_until):
    """SIGKILL reaches a container whose launcher was stopped and passes nothing on."""

    async def live() -> tuple[list[int], int]:
        for name in ("layer", "scratch"):
            (tmp_path / name).mkdir()
        argv = [sys.executable, "-I", "-S", "-c", SLEEP]
        spec = isolation.spec(
            tmp_path, tmp_path / "layer", argv, dict(os.environ), binds=[], own_network=False
        )
        launcher = Launcher(Zygotes(dict(os.environ)))
        nothing = os.open(os.devnull, os.O_RDWR)
        process = await launcher.start(tmp_path, spec, Streams(nothing, nothing, nothing))
        os.close(nothing)
        await asyncio.to_thread(wait_until, lambda: processes.below(process.pid), "it runs")
        inside = processes.below(process.pid)
        os.kill(process.pid, signal.SIGSTOP)
        process.send_signal(signal.SIGKILL)
        code = await asyncio.wait_for(process.wait(), PATIENCE_S)
        await launcher.finish()
        return inside, code

    inside, code = asyncio.run(live())
    assert code == 128 + signal.SIGKILL
    wait_until(lambda: not any(map(processes.alive, inside)), "everything in it has ended")
