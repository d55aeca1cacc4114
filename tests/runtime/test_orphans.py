"""A service's engine when what it runs in is killed: nothing of it is left, whoever dies."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modalkit.testing.local_modal import LocalModalFixture
from modalkit.testing.process import PlaneProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")

PATIENCE_S = 120  # a deadline against hangs, never a measurement
NAME = "orphan-or-not"
APP = f"""
import modal
from modalkit import Echo, ModelService, serve

app = modal.App("orphans")

@serve(app)
class Chat(ModelService):
    engine = Echo(served_name={NAME!r})
    api = None
"""


def engine_processes() -> set[int]:
    """Every process that was started to serve the name: the engine, and the two guards before it."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if NAME in words and "modalkit.runtime.echo" in words:
            found.add(int(folder.name))
    return found


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_engine_outlives_its_container_or_the_containers_parent(tmp_path):
    """SIGKILL for the container, then for the whole local Modal: its engine is gone each time."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "state").mkdir()
    # Without namespaces no kernel ends everything that was in one: the guards have to.
    plane = PlaneProcess.start(tmp_path / "state", namespaces=False)
    try:
        with plane.as_environment():
            local = LocalModalFixture(plane.exports, plane.dashboard)
            local.command("modal", "deploy", str(tmp_path / "app.py"))
            chat = local.cls("orphans", "Chat")()
            assert chat.generate.remote("hello") == "hello"
            first = engine_processes()
            assert len(first) == 3
            (container,) = {parent_of(one) for one in first} - first
            os.kill(container, signal.SIGKILL)
            wait_until(lambda: not first & engine_processes())

            assert chat.generate.remote("again") == "again"  # another container took its place
            assert engine_processes()
            plane.process.kill()
            wait_until(lambda: not engine_processes())
            local.close()
    finally:
        plane.stop()


@pytest.fixture(autouse=True)
def _alone():
    assert not engine_processes()
