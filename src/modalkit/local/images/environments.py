"""Python environments of images: small ones, each laid over the ones below and this machine's.

An environment holds only what its image adds. Everything else is found in the environments of the
images below it, and in the packages of the Python that runs `modalkit` (Modal's client among them).
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .requirements import Installed

__all__ = ["Environment", "find_interpreter", "make_environment"]

_BELOW = "~below.pth"  # sorts after the environment's own .pth files
_SEED = "MODALKIT_SEED"
_SCRIPT = """#!{python}
import sys
from {module} import {first}
if __name__ == "__main__":
    sys.exit({attribute}())
"""


class Environment:
    """One environment.

    Args:
        path: Its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        return next((self.path / "lib").glob("python3*/site-packages"))

    def lay_over(self, below: Sequence[str]) -> None:
        """Find what it lacks in other folders of packages, with what their .pth files add."""
        calls = "; ".join(f"site.addsitedir({path!r})" for path in below)
        (self.packages / _BELOW).write_text(f"import site; {calls}\n")

    def add_scripts(self, installed: Installed) -> None:
        """Give the commands of packages below to this environment's interpreter."""
        for found in installed.all():
            for entry in found.entry_points:
                script = self.path / "bin" / entry.name
                if entry.group == "console_scripts" and not script.exists():
                    script.write_text(_script(self.python, entry))
                    script.chmod(0o755)

    @contextmanager
    def seeded(self, installed: Installed) -> Iterator[None]:
        """Tell an installer that this environment has what is below, while it works.

        An installer that replaces a package removes only its description; the package itself stays
        where it is and is hidden by the new one.
        """
        for found in installed.all():
            self._seed(found)
        try:
            yield
        finally:
            for mark in self.packages.glob(f"*.dist-info/{_SEED}"):
                for path in mark.parent.iterdir():
                    path.unlink()
                mark.parent.rmdir()

    def _seed(self, found: importlib.metadata.Distribution) -> None:
        description = found.read_text("METADATA")
        if description is None:
            return
        name = found.metadata["Name"].replace("-", "_")
        folder = self.packages / f"{name}-{found.version}.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(description, "utf-8")
        (folder / "INSTALLER").write_text("modalkit\n")
        (folder / "WHEEL").write_text(found.read_text("WHEEL") or "Wheel-Version: 1.0\n")
        (folder / _SEED).touch()
        names = ("METADATA", "INSTALLER", "WHEEL", _SEED, "RECORD")
        (folder / "RECORD").write_text("".join(f"{folder.name}/{file},,\n" for file in names))

    def added(self) -> list[str]:
        """Return ``name==version`` of each package it holds itself."""
        own = Installed([str(self.packages)]).all()
        return sorted(f"{found.metadata['Name']}=={found.version}" for found in own)


def make_environment(path: Path, interpreter: str = sys.executable) -> Environment:
    """Make an empty environment on an interpreter."""
    if interpreter == sys.executable:
        venv.EnvBuilder(symlinks=True).create(path)
    else:
        command = [interpreter, "-m", "venv", "--without-pip", str(path)]
        subprocess.run(command, check=True, capture_output=True)
    return Environment(path)


def find_interpreter(series: str, candidates: Iterable[str]) -> str | None:
    """Return the first candidate that runs and is of a series such as ``"3.12"``."""
    code = "import json, sys; print(json.dumps([list(sys.version_info[:2]), sys.executable]))"
    for candidate in candidates:
        try:
            done = subprocess.run(
                [candidate, "-c", code], capture_output=True, timeout=10, check=True, text=True
            )
            version, path = json.loads(done.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            continue
        if ".".join(map(str, version)) == series:
            return str(path)
    return None


def _script(python: Path, entry: importlib.metadata.EntryPoint) -> str:
    module, _, attribute = entry.value.partition("[")[0].strip().partition(":")
    first = attribute.partition(".")[0]
    return _SCRIPT.format(python=python, module=module, first=first, attribute=attribute)
