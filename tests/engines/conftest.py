"""The engines' own parsers, where an environment has them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "real_parsers.py"


@pytest.fixture(scope="session")
def real_parser(engine_python):
    """Judge command lines by an engine's own parser: for each, None or what it said."""

    def judge(engine, lines, *options):
        done = subprocess.run(
            [engine_python(engine), str(SCRIPT), engine, *options],
            input=json.dumps([list(line) for line in lines]),
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return judge


@pytest.fixture(scope="session")
def tiny_model():
    """A folder with a whole small Llama."""
    make = [sys.executable, str(ROOT / "examples" / "make_models.py"), "chat"]
    subprocess.run(make, check=True, cwd=ROOT)
    return ROOT / "examples" / "models" / "small-chat"
