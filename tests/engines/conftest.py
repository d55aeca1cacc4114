"""The engines' own parsers, where an environment has them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "real_parsers.py"


def pytest_configure(config):
    """Name the marker of the tests that need gigabytes of an engine."""
    config.addinivalue_line(
        "markers",
        "engines: asks an engine's own parser; needs MODALKIT_SGLANG_PYTHON or "
        "MODALKIT_VLLM_PYTHON, the interpreter of an environment made as "
        "scripts/real_parsers.py says",
    )


@pytest.fixture(scope="session")
def real_parser():
    """Judge command lines by an engine's own parser: for each, None or what it said."""

    def judge(engine, lines):
        done = subprocess.run(
            [interpreter(engine), str(SCRIPT), engine],
            input=json.dumps([list(line) for line in lines]),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return judge


def interpreter(engine):
    variable = f"MODALKIT_{engine.upper()}_PYTHON"
    if variable not in os.environ:
        pytest.skip(
            f"{variable} names no Python that has {engine}; scripts/real_parsers.py says how "
            "to make one"
        )
    return os.environ[variable]
