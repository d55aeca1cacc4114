"""Settings for the whole suite, and the stand-in hub that several parts of it ask."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

# No property is about time, and a busy machine can make any example slow. Examples are looked for
# anew at every run but CI's, whose verdict must be of the change and not of chance.
settings.register_profile("modalkit", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("modalkit")


def _stand_in() -> ModuleType:
    """The server's module; tests are no package, so it is loaded by its path."""
    name = "stand_in_hub"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, Path(__file__).parent / "hub" / f"{name}.py"
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A stand-in hub that this process and its children ask, with an empty cache and no token."""
    with _stand_in().stand_in_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        for name in ("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield running


@pytest.fixture(scope="session")
def engine_python() -> Callable[[str], str]:
    """The Python of an environment with a real engine, as scripts/engine_env.py makes it.

    Without one the test is skipped, but where `MODALKIT_ENGINES` is "required", as in scripts/test.
    """
    script = Path(__file__).parent.parent / "scripts" / "engine_env.py"

    def find(name: str) -> str:
        command = [sys.executable, str(script), "--find", name]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.splitlines()[-1]
        if os.environ.get("MODALKIT_ENGINES") == "required":
            pytest.fail(found.stderr.strip())
        pytest.skip(found.stderr.strip())

    return find
