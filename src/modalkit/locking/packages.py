"""The whole tree of an image's Python packages, as uv or pip resolves it for the container."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..declare.image import ImageSpec
from ..declare.image.bases import DebianSlim, Registry
from ..declare.image.installs import PackageInstall, RequirementsFile
from ..declare.pins import is_pinned
from ..errors import LockError

__all__ = ["Packages", "Resolver", "installs_of", "python_of", "python_series", "resolve_packages"]

Resolver = Literal["auto", "uv", "pip", "declared"]

_TIMEOUT_S = 600
_PLATFORM = "x86_64-manylinux_2_28"  # of Modal's containers, as uv names it
_PIP_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


@dataclass(frozen=True, slots=True)
class Packages:
    """What was resolved.

    Attributes:
        lines: ``name==version --hash=sha256:...``, sorted by name.
        resolved_by: Who resolved it.
        note: Why not by something better; empty if there is nothing better.
    """

    lines: tuple[str, ...]
    resolved_by: Literal["uv", "pip", "declared", ""]
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Wanted:
    requirements: tuple[str, ...]
    options: tuple[str, ...]
    python: str


def installs_of(image: ImageSpec) -> tuple[str, ...]:
    """Return the requirements an image declares, those in its requirements files included.

    Raises:
        LockError: A requirements file is missing.
    """
    return tuple(line for layer in image.layers for line in _of_layer(layer))


def resolve_packages(image: ImageSpec, resolver: Resolver = "auto") -> Packages:
    """Resolve an image's packages for Linux on x86-64 and the image's Python.

    Args:
        image: The whole image.
        resolver: ``"auto"`` asks uv if it is there, else pip, and takes what is declared if neither
            reaches an index; the others insist.

    Raises:
        LockError: The resolver that was insisted on failed; the message ends with what it said.
    """
    wanted = _Wanted(installs_of(image), tuple(_index_options(image)), python_of(image))
    if not wanted.requirements:
        return Packages((), "")
    if resolver == "declared":
        return Packages(_declared(wanted), "declared")
    asked = ("uv", "pip") if resolver == "auto" else (resolver,)
    problems = []
    for name in asked:
        try:
            lines = _by_uv(wanted) if name == "uv" else _by_pip(wanted)
        except LockError as error:
            problems.append(str(error))
        else:
            return Packages(lines, "uv" if name == "uv" else "pip", " ".join(problems))
    if resolver != "auto":
        raise LockError(problems[-1])
    note = (
        f"{' '.join(problems)} Locked are the versions that the image itself pins, without hashes."
    )
    return Packages(_declared(wanted), "declared", note)


def _by_uv(wanted: _Wanted) -> tuple[str, ...]:
    program = shutil.which("uv")
    if program is None:
        msg = "uv is not installed, so pip was asked."
        raise LockError(msg)
    argv = [
        program,
        "pip",
        "compile",
        "-",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--quiet",
    ]
    argv += ["--python-version", wanted.python, "--python-platform", _PLATFORM, *wanted.options]
    text = _run(argv, "\n".join(wanted.requirements))
    joined = text.replace("\\\n", " ")
    return tuple(sorted(" ".join(line.split()) for line in joined.splitlines() if line.strip()))


def python_series(python: str) -> str:
    """Return ``"3.12"`` for ``"3.12.4"``."""
    return ".".join(python.split(".")[:2])


def _by_pip(wanted: _Wanted) -> tuple[str, ...]:
    series = python_series(wanted.python)
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-input"]
        argv += [
            "--ignore-installed",
            "--report",
            "-",
            "--target",
            folder,
            "--only-binary",
            ":all:",
        ]
        argv += ["--python-version", series, "--implementation", "cp"]
        argv += [word for platform in _PIP_PLATFORMS for word in ("--platform", platform)]
        told = json.loads(_run([*argv, *wanted.options, *wanted.requirements], ""))
    return tuple(sorted(_line(item) for item in told["install"]))


def _line(item: dict[str, dict[str, dict[str, dict[str, str]]]]) -> str:
    about, hashes = (
        item["metadata"],
        item["download_info"].get("archive_info", {}).get("hashes", {}),
    )
    digest = f" --hash=sha256:{hashes['sha256']}" if "sha256" in hashes else ""
    return f"{str(about['name']).lower()}=={about['version']}{digest}"


def _run(argv: Sequence[str], text: str) -> str:
    name = Path(argv[0]).name if "pip" not in argv[2:3] else "pip"
    try:
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"{name} did not end: {type(error).__name__}."
        raise LockError(msg) from error
    if done.returncode:
        last = [line.strip() for line in done.stderr.splitlines() if line.strip()][-2:]
        msg = f"{name} could not resolve the image's packages: {' '.join(last)}"
        raise LockError(msg)
    return done.stdout


def _declared(wanted: _Wanted) -> tuple[str, ...]:
    return tuple(sorted(line for line in wanted.requirements if is_pinned(line)))


def _of_layer(layer: object) -> Iterator[str]:
    if isinstance(layer, PackageInstall):
        yield from layer.requirements
    elif isinstance(layer, RequirementsFile):
        path = Path(layer.path).expanduser()
        if not path.is_file():
            msg = f"ImageSpec.requirements({layer.path!r}) does not exist in {str(Path.cwd())!r}. Run modalkit lock where it is."
            raise LockError(msg)
        lines = (line.partition(" #")[0].strip() for line in path.read_text("utf-8").splitlines())
        yield from (line for line in lines if line and not line.startswith(("#", "-")))


def _index_options(image: ImageSpec) -> Iterator[str]:
    """The indexes of the image's layers; the first one named is everybody's."""
    for layer in image.layers:
        if isinstance(layer, PackageInstall):
            if layer.index_url:
                yield from ("--index-url", layer.index_url)
            if layer.extra_index_url:
                yield from ("--extra-index-url", layer.extra_index_url)


def python_of(image: ImageSpec) -> str:
    """Return the Python of an image, ``"3.12"`` where its base does not say."""
    base = image.base
    if isinstance(base, DebianSlim):
        return base.python
    return (base.add_python if isinstance(base, Registry) else None) or "3.12"
