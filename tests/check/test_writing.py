"""What happens to files when a fix cannot be written, and to those that no fix should open."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from modalkit.check.fixing import fix_file, fix_paths
from modalkit.check.settings import Settings
from modalkit.check.source import MOST_BYTES, UnreadableError
from modalkit.errors import DeclarationError

OLD = "import modal\n\nstub = modal.Stub('x')\n"
NEW = "import modal\n\napp = modal.App('x')\n"
FULL = """import resource, signal, sys
from modalkit.check.fixing import fix_file
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))
fix_file(Path(sys.argv[1]))
"""


def test_a_file_stays_whole_when_there_is_no_room(tmp_path: Path) -> None:
    """The old text is there, nothing lies beside it, and the error says which file and why."""
    path = tmp_path / "old.py"
    path.write_text(OLD)
    words = [sys.executable, "-c", FULL, str(path)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert "old.py' cannot be written: File too large." in ended.stderr
    assert path.read_text() == OLD
    assert [one.name for one in tmp_path.iterdir()] == ["old.py"]


def test_a_fixed_file_keeps_its_permissions_and_its_link(tmp_path: Path) -> None:
    """A program stays executable, and a link leads to the fixed file."""
    path, link = tmp_path / "old.py", tmp_path / "link.py"
    path.write_text(OLD)
    path.chmod(0o750)
    link.symlink_to(path)
    fix_file(link)
    assert link.is_symlink()
    assert path.read_text() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_read_only_file_is_not_replaced(tmp_path: Path) -> None:
    """Its folder would let a new file take its place; it is refused by name, and fixed once it is writable."""
    path = tmp_path / "old.py"
    path.write_text(OLD)
    path.chmod(0o444)
    with pytest.raises(DeclarationError) as refused:
        fix_file(path)
    assert all(
        one in str(refused.value) for one in (str(path), "read-only (mode 0444)", "chmod u+w")
    )
    assert path.read_text() == OLD
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    path.chmod(0o644)
    fix_file(path)
    assert path.read_text() == NEW


def test_no_fix_opens_a_pipe_or_reads_a_huge_file(tmp_path: Path) -> None:
    """They are refused at once, as a check refuses them."""
    pipe, huge = tmp_path / "pipe.py", tmp_path / "huge.py"
    os.mkfifo(pipe)
    huge.write_text(OLD + "#" * MOST_BYTES)
    for path in (pipe, huge):
        with pytest.raises(UnreadableError):
            fix_file(path)
    assert fix_paths([str(pipe), str(huge)], Settings()) == {}
