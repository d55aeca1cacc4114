"""`modal serve`: edits reload, a broken edit is shown and harmless, Ctrl-C ends it."""

from __future__ import annotations

import queue
import re
import signal
import threading
from pathlib import Path

import httpx
import pytest

PATIENCE_S = 120
SOURCE = """
import modal
import neighbour

image = modal.Image.debian_slim().add_local_python_source("neighbour")
app = modal.App("served", image=image)

@app.function(schedule=modal.Period(seconds=1))
def by_itself() -> None:
    print("FIRED BY ITSELF")

@app.function()
@modal.fastapi_endpoint()
def say() -> str:
    return f"main {neighbour.WORD}"
"""

pytestmark = pytest.mark.slow


class Served:
    """A `modal serve` and what it has printed."""

    def __init__(self, process) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.seen: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)

    def until(self, pattern: str) -> re.Match[str]:
        """Wait for a line that matches."""
        while True:
            line = self._lines.get(timeout=PATIENCE_S)
            self.seen.append(line)
            if found := re.search(pattern, line):
                return found


@pytest.fixture
def served(start_local, tmp_path: Path):
    (tmp_path / "served.py").write_text(SOURCE)
    (tmp_path / "neighbour.py").write_text("WORD = 'one'\n")
    return Served(start_local("modal", "serve", str(tmp_path / "served.py")))


def test_edits_reload_and_a_broken_one_leaves_the_old_version(served, wait_until, tmp_path: Path):
    """A changed module reloads, a syntax error leaves the last good version; schedules fire meanwhile."""
    url = served.until(r"(http://127.0.0.1:\d+)")[1]

    def answer() -> str:
        return httpx.get(url, timeout=60).json()

    assert answer() == "main one"
    (tmp_path / "neighbour.py").write_text("WORD = 'two'\n")
    wait_until(lambda: answer() == "main two", "the new module answers")
    (tmp_path / "served.py").write_text(SOURCE + "\ndef broken(:\n")
    served.until("SyntaxError|invalid syntax")
    assert answer() == "main two"
    (tmp_path / "served.py").write_text(SOURCE.replace("main", "mended"))
    wait_until(lambda: answer() == "mended two", "the mended file answers")
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(PATIENCE_S) == 0
    assert any("FIRED BY ITSELF" in line for line in served.seen)
    with pytest.raises(httpx.TransportError):
        httpx.get(url, timeout=5)
