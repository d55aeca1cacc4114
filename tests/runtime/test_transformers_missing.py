"""A model that is not there."""

from __future__ import annotations

import subprocess
import sys


def test_a_path_without_a_model_is_named_at_once(tmp_path):
    """A folder that holds no model ends the process with its path and what to write instead."""
    missing = tmp_path / "nothere"
    done = subprocess.run(
        [sys.executable, "-m", "modalkit.runtime.transformers", "--model", str(missing)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"There is no model at '{missing}' here")
