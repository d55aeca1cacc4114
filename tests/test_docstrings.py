"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "modalkit"
MODULES = sorted(
    ".".join(["modalkit", *path.relative_to(PACKAGE).with_suffix("").parts])
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text("utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    """Every >>> line in a docstring gives what stands below it."""
    module = importlib.import_module(name.removesuffix(".__init__"))
    failures, tried = doctest.testmod(module)
    assert tried > 0
    assert failures == 0
