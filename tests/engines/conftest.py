"""The engines' own parsers, where an environment has them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "real_parsers.py"


@pytest.fixture(scope="session")
def real_parser(engine_python):
    """Judge command lines by an engine's own parser: for each, None or what it said."""

    def judge(engine, lines):
        done = subprocess.run(
            [engine_python(engine), str(SCRIPT), engine],
            input=json.dumps([list(line) for line in lines]),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return judge
