"""Rewrites from the lock, and of time limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from modalkit.check.fixing import fix_file, fix_text
from modalkit.lock import LOCK_NAME, Lock, LockedImage, LockedService, write_lock

PROGRAM = """\
import modal

image = modal.Image.debian_slim().pip_install(
    "fastapi[standard]>=0.100",  # the web
    "numpy",
    'pillow<5',
    "rich==13.0.0",
)
app = modal.App("pins", image=image)
"""


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """A folder with a lock of two services that agree on some versions."""
    chat = LockedImage(
        packages=("fastapi==0.120.1", "numpy==2.3.4", "pillow==12.0.0", "rich==14.2.0")
    )
    other = LockedImage(packages=("fastapi==0.120.1", "numpy==2.3.4 --hash=sha256:00"))
    services = {"a.py:Chat": LockedService(image=chat), "a.py:Other": LockedService(image=other)}
    write_lock(
        Lock(modalkit="0", prices_read_on="2026-11-20", services=services), tmp_path / LOCK_NAME
    )
    return tmp_path


def test_loose_requirements_get_the_locked_versions(locked: Path) -> None:
    """Extras stay, and what is pinned or bounded otherwise is left alone."""
    path = locked / "a.py"
    path.write_text(PROGRAM)
    fix_file(path)
    fixed = PROGRAM.replace(">=0.100", "==0.120.1").replace('"numpy"', '"numpy==2.3.4"')
    assert path.read_text() == fixed


def test_without_a_lock_nothing_is_pinned(tmp_path: Path) -> None:
    """A version is never made up."""
    path = tmp_path / "a.py"
    path.write_text(PROGRAM)
    fix_file(path, unsafe=True)
    assert path.read_text() == PROGRAM


def test_a_broken_lock_pins_nothing(locked: Path) -> None:
    """A lock that cannot be read is as good as none; `modalkit lock --check` says what is wrong."""
    (locked / LOCK_NAME).write_text("{")
    path = locked / "a.py"
    path.write_text(PROGRAM)
    fix_file(path)
    assert path.read_text() == PROGRAM


def test_a_training_function_gets_time_when_asked_for() -> None:
    """Its time limit is an unsafe fix: a run that hangs costs more."""
    program = (
        "import modal\n\napp = modal.App('t')\n\n\n"
        "@app.function(gpu='H100')\ndef train() -> None: ...\n"
    )
    assert fix_text("t.py", program).text == program
    fixed = fix_text("t.py", program, unsafe=True).text
    assert "@app.function(gpu='H100', timeout=6 * 60 * 60)" in fixed
