"""What an image installs, and whether an import finds its package there.

``data/import_names.json`` says which distributions bring an import (``cv2`` is ``opencv-python``) and
what each distribution requires. Where an image cannot be read to the end, nothing is known to be missing.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from .images import Image, Step
from .names import Names

__all__ = [
    "Install",
    "Installed",
    "brought_by",
    "installed_in",
    "installs",
    "is_bare",
    "is_standard",
    "names_its_packages",
    "package_for",
    "requirements_of",
]

# Steps that add packages of which nothing is known here.
_OPAQUE = {
    "pip_install_from_requirements", "pip_install_from_pyproject", "pip_install_private_repos", "poetry_install_from_file",
    "uv_sync", "requirements", "pyproject", "uv_lock", "local_dir", "local_file", "with_modalkit", "micromamba_install", "conda_install", "conda_update_from_environment", "dockerfile_commands",
    "pipe", "run_function", "add_local_dir", "add_local_file", "copy_local_dir", "copy_local_file", "copy_mount",
}  # fmt: skip
# Those of them that install what another file lists.
_LISTED_ELSEWHERE = {
    "pip_install_from_requirements", "pip_install_from_pyproject", "poetry_install_from_file", "uv_sync",
    "requirements", "pyproject", "uv_lock", "conda_update_from_environment",
}  # fmt: skip
_PIP = {"pip_install", "uv_pip_install", "pip", "uv"}
# What modalkit's runtime brings into the image of every service.
_OF_SPECS = ("pydantic", "aiohttp", "starlette", "uvicorn", "click", "rich", "packaging")
# Bases that bring no Python package of their own.
_BARE = ("debian_slim",)
_BARE_REGISTRY = re.compile(
    r"(?:docker\.io/)?(?:library/)?(?:python|ubuntu|debian|nvidia/cuda)(?::|$|@)"
)
_PIP_COMMAND = re.compile(
    r"(?:^|&&|;|\s)(?:python\d?(?:\.\d+)?\s+-m\s+)?(?:uv\s+)?pip\d?\s+install\s+(?P<rest>[^&;|]*)"
)
# Commands that install no Python package.
_HARMLESS = re.compile(
    r"^\s*(?:apt(?:-get)?|echo|mkdir|rm|cp|mv|ln|chmod|git\s+(?:clone|lfs|config)|wget|cat|ls|sed|touch|export|"
    r"huggingface-cli|hf|nvcc|nvidia-smi|ldconfig|update-alternatives)\b"
)
# Modal brings these into every container, whatever the image (builder 2025.06).
_MODALS_OWN = frozenset(
    {"modal", "modalkit", "aiohttp", "aiosignal", "attr", "attrs", "cbor2", "certifi", "frozenlist", "google", "grpclib", "h2",
     "hpack", "hyperframe", "idna", "modal_proto", "multidict", "propcache", "synchronicity", "typing_extensions", "yarl"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Install:
    """One requirement that a step installs, and the node that says so."""

    requirement: str
    at: ast.expr


@dataclass(frozen=True, slots=True)
class Installed:
    """The distributions of an image, those that others require too, and whether these are all."""

    distributions: frozenset[str]
    complete: bool


@cache
def _facts() -> Mapping[str, Any]:
    text = (files("modalkit") / "data" / "import_names.json").read_text("utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


def package_for(module: str) -> tuple[str, ...]:
    """Return the distributions that bring an import, the usual one first.

    Examples:
        >>> package_for("PIL.Image")[0]
        'pillow'
        >>> package_for("some_new_thing")
        ('some-new-thing',)
    """
    top = module.partition(".")[0]
    known: Mapping[str, list[str]] = _facts()["names"]
    return tuple(known.get(top, [canonicalize_name(top)]))


def is_standard(module: str) -> bool:
    """Whether an import needs no package: Python's own, or brought by Modal."""
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top in _MODALS_OWN


def installs(step: Step, names: Names) -> Iterator[Install]:
    """Yield the requirements that a step names."""
    for argument in step.call.args:
        for node in _entries(argument, names):
            text = names.text(node)
            if text is None:
                continue
            if step.method in _PIP:
                yield Install(text, node)
            elif step.method in {"run_commands", "run"}:
                yield from (Install(one, node) for one in requirements_of(text))


def _entries(node: ast.expr, names: Names) -> Iterator[ast.expr]:
    inner = node.value if isinstance(node, ast.Starred) else node
    for possible in names.possible(inner):
        if isinstance(possible, ast.List | ast.Tuple):
            yield from possible.elts
        else:
            yield possible


def requirements_of(command: str) -> list[str]:
    """Return what a ``pip install`` command installs by name.

    Examples:
        >>> requirements_of("pip install -U 'vllm>=0.9' torch && echo done")
        ['vllm>=0.9', 'torch']
    """
    found = []
    for match in _PIP_COMMAND.finditer(command):
        words = [word.strip("'\"") for word in match["rest"].split()]
        takes_value = False
        for word in words:
            if takes_value or word.startswith("-"):
                takes_value = word in {
                    "-r",
                    "-c",
                    "-e",
                    "-i",
                    "-f",
                    "--index-url",
                    "--extra-index-url",
                    "--find-links",
                }
            elif re.match(r"[A-Za-z0-9]", word) and "://" not in word:
                found.append(word)
    return found


def installed_in(image: Image | None, names: Names) -> Installed:
    """Return what an image has; None is Modal's default image, which has nothing.

    Examples:
        >>> installed_in(None, None)
        Installed(distributions=frozenset(), complete=True)
    """
    if image is None:
        return Installed(frozenset(), complete=True)
    named = list(_OF_SPECS) if image.base == "ImageSpec" else []
    complete = not image.partial and is_bare(image, names)
    for step in image.steps:
        complete = complete and _is_readable(step, names)
        named += [one.requirement for one in installs(step, names)]
    brought = brought_by(named)
    return Installed(brought.distributions, complete and brought.complete)


def brought_by(requirements: Iterable[str]) -> Installed:
    """Return the distributions that requirements bring, and whether these are all."""
    found, known = _closure(requirements)
    return Installed(frozenset(found), known)


def is_bare(image: Image, names: Names) -> bool:
    """Whether an image starts from a base that brings nothing of its own, as far as can be known."""
    if image.base in _BARE or (image.base == "ImageSpec" and _is_slim(image)):
        return True
    call = image.base_call
    tag = names.text(call.args[0]) if image.base == "from_registry" and call and call.args else None
    return bool(tag and _BARE_REGISTRY.match(tag))


def names_its_packages(image: Image, names: Names) -> bool:
    """Whether the code says which packages an image has: its base has none, and no list elsewhere adds some."""
    if image.partial or not is_bare(image, names):
        return False
    return not any(step.method in _LISTED_ELSEWHERE for step in image.steps)


def _is_slim(image: Image) -> bool:
    """Whether an `ImageSpec` starts from Modal's slim image, as it does unless it says otherwise."""
    call = image.base_call
    return call is not None and all(keyword.arg == "python" for keyword in call.keywords)


def _is_readable(step: Step, names: Names) -> bool:
    if step.method in _OPAQUE:
        return False
    if step.method not in {*_PIP, "run_commands", "apt_install", "run", "apt"}:
        return True
    if any(keyword.arg is None for keyword in step.call.keywords):
        return False
    for argument in step.call.args:
        for node in _entries(argument, names):
            text = names.text(node)
            if text is None or not _is_plain(step.method, text):
                return False
    return True


def _is_plain(method: str, text: str) -> bool:
    if method in {"apt_install", "apt"}:
        return not text.startswith("python3-")
    if method in _PIP:
        return "://" not in text and not text.startswith((".", "/", "-"))
    parts = re.split(r"&&|;|\|\|", text)
    return all(_HARMLESS.match(part) or _is_plain_pip(part) for part in parts if part.strip())


def _is_plain_pip(command: str) -> bool:
    match = _PIP_COMMAND.search(command)
    return match is not None and not re.search(
        r"(?:^|\s)(?:-r|-e|--requirement|--editable|\.|\S*/\S*)(?:\s|$)", match["rest"]
    )


def _closure(requirements: Iterable[str]) -> tuple[set[str], bool]:
    """Every distribution that comes along, and whether that is known of all of them."""
    brings: Mapping[str, list[str]] = _facts()["brings"]
    found: set[str] = set()
    known = True
    waiting: list[tuple[str, bool]] = []
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            known = False
            continue
        name = str(canonicalize_name(requirement.name))
        waiting += [(name, True), *((f"{name}[{extra}]", True) for extra in requirement.extras)]
    while waiting:
        name, is_named = waiting.pop()
        if name in found:
            continue
        found.add(name)
        # What is required by something known was curated with it; only a named one may surprise.
        known = known and (name in brings or not is_named)
        waiting += [(other, False) for other in brings.get(name, ())]
    return found, known
