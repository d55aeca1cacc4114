"""Whole programs that are right, in the style of public ones: the check finds nothing to mend in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modalkit.check import Severity, check_paths

FOLDER = Path(__file__).parent / "correct_programs"
PROGRAMS = sorted(FOLDER.glob("*.py"))
# Notes that are true of them: a bound instead of a version, an engine that could sleep in a snapshot.
TRUE_NOTES = {"MK302", "MK408"}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_correct_program_passes(program: Path) -> None:
    """It has no error and no warning, and only the notes that are true of it."""
    found = check_paths([str(program)]).findings
    assert [one.place for one in found if one.severity is not Severity.NOTE] == []
    assert {one.code for one in found} <= TRUE_NOTES


def test_the_programs_load() -> None:
    """Modal takes all of them as they are, and warns of nothing."""
    loads = (
        "import runpy, sys, warnings; warnings.simplefilter('error')\n"
        "for path in sys.argv[1:]: runpy.run_path(path, run_name='loaded')"
    )
    beside = {path.stem for path in PROGRAMS if _imports_others(path)}
    programs = [str(path) for path in PROGRAMS if path.stem not in beside]
    assert len(programs) > len(PROGRAMS) / 2
    ended = subprocess.run(
        [sys.executable, "-c", loads, *programs],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr


def _imports_others(path: Path) -> bool:
    """Whether a program imports at its top what only its containers have."""
    return ".imports():" in path.read_text("utf-8")
