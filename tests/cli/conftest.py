"""The shop as a file that a test may change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .planning import SHOP


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A copy of the shop that a test may change."""
    shutil.copytree(SHOP.parent, tmp_path / "apps")
    return tmp_path / "apps" / "shop.py"
