"""Whether namespaces can be made is tried once, and again whenever anything it depends on changes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modalkit.local.processes.isolation import Isolation
from modalkit.local.processes.probing import circumstances, probe_once


@pytest.fixture
def allowed(tmp_path: Path) -> None:
    """Skip where this machine allows no namespaces."""
    if not Isolation.probe(tmp_path / "look").namespaces:
        pytest.skip("this machine allows no namespaces")


def test_what_worked_is_not_tried_again(tmp_path: Path, allowed):
    """The second time nothing is started: the folder for it is not even made."""
    memory = tmp_path / "memory"
    first, second = tmp_path / "first", tmp_path / "second"
    assert probe_once(first, memory).namespaces
    assert first.exists()
    assert probe_once(second, memory).namespaces
    assert not second.exists()


@pytest.mark.parametrize("remembered", ["", "0" * 64, "torn"])
def test_what_was_seen_under_other_circumstances_is_tried_again(
    tmp_path: Path, allowed, remembered
):
    """A memory of another machine, user, kernel or setting decides nothing."""
    memory = tmp_path / "memory"
    memory.write_text(remembered)
    assert probe_once(tmp_path / "trial", memory).namespaces
    assert (tmp_path / "trial").exists()
    assert memory.read_text() == circumstances(tmp_path)


def test_circumstances_are_the_same_until_something_changes(tmp_path: Path):
    """Another process of the same user sees the same; one with fewer rights sees others."""
    look = (
        "import sys; from pathlib import Path\n"
        "from modalkit.local.processes.probing import circumstances\n"
        "print(circumstances(Path(sys.argv[1])))"
    )

    def seen(*before: str) -> str:
        command = [*before, sys.executable, "-c", look, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert seen() == seen() == circumstances(tmp_path)
    if shutil.which("setpriv"):
        assert seen("setpriv", "--no-new-privs") != seen()
