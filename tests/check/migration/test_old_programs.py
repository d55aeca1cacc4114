"""Programs in the style of 2023 to 2026, brought to the installed Modal and run by it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modalkit.check.fixing import Fixed, fix_file
from modalkit.testing.process import PlaneProcess

FOLDER = Path(__file__).parent / "old_programs"
PROGRAMS = sorted(FOLDER.glob("p*.py"))


def fix(program: Path) -> Fixed:
    """The program after `--fix`, or after `--unsafe-fixes` where it says that it needs them."""
    return fix_file(program, unsafe="modalkit-test: unsafe" in program.read_text())


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_an_old_program_runs_after_its_fixes(
    program: Path, tmp_path: Path, local_modal_plane: PlaneProcess
) -> None:
    """It runs through the local Modal, and Modal warns of nothing."""
    shutil.copytree(FOLDER / "files", tmp_path, dirs_exist_ok=True)
    shutil.copy(program, tmp_path)
    fix(tmp_path / program.name)
    text = program.read_text()
    how = next((one for one in ("deploy", "load") if f"modalkit-test: {one}" in text), "run")
    words = [program.name] if how == "load" else ["-m", "modal", how, program.name]
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={**os.environ, **local_modal_plane.exports, "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    assert how != "run" or "done" in ended.stdout, said
    assert "Deprecat" not in said


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_nothing_old_is_left(program: Path, tmp_path: Path) -> None:
    """After the fixes no rule about old code finds anything, and a second run changes nothing."""
    shutil.copytree(FOLDER / "files", tmp_path, dirs_exist_ok=True)
    copy = Path(shutil.copy(program, tmp_path))
    fixed = fix(copy)
    again = fix_file(copy, unsafe=True)
    assert [one.place + " " + one.message for one in fixed.left if one.code.startswith("MK8")] == []
    assert again.text == fixed.text
