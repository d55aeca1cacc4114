"""Examples run as a user runs them: `modalkit local modal ...` in a real subprocess."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
KEY = "test-key-of-the-examples"
PATIENCE_S = 300  # a deadline against hangs, never a measurement


class LocalModal:
    """The command a user types, with a state folder of its own."""

    def __init__(self, state: Path) -> None:
        self.command = [str(BIN / "modalkit"), "local", "--state", str(state)]
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "MODALKIT_API_KEY": KEY,
        }

    def run(self, *words: str, cwd: Path = ROOT) -> str:
        """Run a command to its end; what it printed."""
        done = subprocess.run(
            [*self.command, *words],
            env=self.environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def deployed(self, file: str | Path, verb: str = "deploy") -> Iterator[str]:
        """Deploy (or serve) a file and yield the URL of its endpoint while it answers."""
        process = subprocess.Popen(
            [*self.command, "modal", verb, str(file)],
            env=self.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        watchdog = threading.Timer(PATIENCE_S, process.kill)
        watchdog.start()
        said: list[str] = []
        try:
            yield _url(process, said)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
            watchdog.cancel()


def _url(process: subprocess.Popen[str], said: list[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        found = re.search(r"(?:=> |->|at) *(http://[^ ]+?) *(?:\(|$)", line)
        if found and "View" not in line:
            # Keep reading, or the process would wait for somebody to.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return found[1]
    raise AssertionError("".join(said))


@pytest.fixture(scope="session")
def local_modal(tmp_path_factory) -> LocalModal:
    return LocalModal(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def models() -> Path:
    """The small models, made once into the folder the examples look in."""
    subprocess.run(
        [sys.executable, str(ROOT / "examples" / "make_models.py"), "all"], check=True, cwd=ROOT
    )
    return ROOT / "examples" / "models"
