"""MK306 and MK313: packages that do not go together in one image, by their own published requirements."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from ..declared import ModalFile
from ..images import Image, Step
from ..packages import Install, brought_by, installed_in, installs, requirements_of
from ..rule import Problem, rule

__all__ = ["engines_together", "flash_attn_alone"]


@dataclass(frozen=True, slots=True)
class _Set:
    """What one release of a package needs of others, as it publishes it.

    Attributes:
        versions: The releases.
        needs: The versions of others that it goes with, by name.
        python: The versions of Python it goes with; empty if they were not read.
    """

    versions: SpecifierSet
    needs: Mapping[str, str]
    python: str


@cache
def _sets() -> tuple[str, Mapping[str, list[_Set]]]:
    """The day they were read, and the sets by package."""
    written = json.loads((files("modalkit") / "data" / "package_sets.json").read_text("utf-8"))
    found: dict[str, list[_Set]] = {}
    for one in written["sets"]:
        made = _Set(SpecifierSet(one["versions"]), one["needs"], one.get("python", ""))
        found.setdefault(one["package"], []).append(made)
    return written["read_on"], found


@rule(
    "MK306",
    "engines-together",
    "error",
    why="The build fails, or the package that is installed last breaks the others.",
)
def engines_together(file: ModalFile) -> Iterator[Problem]:
    """VLLM and SGLang in one image, or a package beside a version or a Python that it rules out."""
    for image in file.images:
        found = dict(_exact(file, image))
        if "vllm" in found and "sglang" in found:
            yield Problem(
                found["sglang"][1],
                "vllm and sglang are installed into one image.",
                "An image for each: `modalkit` engines bring theirs.",
            )
        if not _skips_requirements(file, image):
            yield from _conflicts(file, image, found)


_Pins = Mapping[str, tuple[str, ast.expr]]


def _conflicts(file: ModalFile, image: Image, found: _Pins) -> Iterator[Problem]:
    read_on, known = _sets()
    python = _python(file, image)
    for package, (version, at) in found.items():
        sets = known.get(package, []) if version else []
        one = next((one for one in sets if one.versions.contains(version, prereleases=True)), None)
        if one is None:
            continue
        for name, specifier in one.needs.items():
            other, there = found.get(name, ("", at))
            if other and not _allows(specifier, other):
                yield Problem(
                    there,
                    f"{name}=={other}, but {package}=={version} needs {name}{specifier} (read on {read_on}).",
                    f"{name}{specifier}, or leave {name} out: {package} brings it.",
                )
        if python and one.python and not _allows(one.python, python):
            yield Problem(
                at,
                f"{package}=={version} needs Python {one.python}, and the image has {python}.",
                f"A Python that it takes, or another release of {package}.",
            )


def _allows(specifier: str, version: str) -> bool:
    public = version.partition("+")[0]
    try:
        return SpecifierSet(specifier).contains(public, prereleases=True)
    except InvalidVersion:
        return True  # not a version of its own, such as "3.13t"


def _python(file: ModalFile, image: Image) -> str:
    """The image's Python; empty where it is not said."""
    options = file.options(image.base_call).given if image.base_call is not None else {}
    option = options.get("python_version") or options.get("add_python") or options.get("python")
    return (file.names.text(option.value) or "") if option is not None else ""


def _skips_requirements(file: ModalFile, image: Image) -> bool:
    """Whether a step installs without what packages require, so that somebody chose the versions."""
    return any("--no-deps" in file.source.segment(step.call) for step in image.steps)


def _exact(file: ModalFile, image: Image) -> Iterator[tuple[str, tuple[str, ast.expr]]]:
    for step in image.steps:
        for one in installs(step, file.names):
            try:
                requirement = Requirement(one.requirement)
            except (InvalidRequirement, InvalidSpecifier):
                continue
            exact = [each.version for each in requirement.specifier if each.operator == "=="]
            plain = [version for version in exact if "*" not in version]
            yield canonicalize_name(requirement.name), (plain[0] if plain else "", one.at)


_OPEN_BUILD = re.compile(r"--no-build-isolation|NO_BUILD_ISOLATION")
_NEXT_COMMAND = re.compile(r"&&|\|\||;|\n")
_ELSEWHERE = {"find_links", "index_url", "extra_index_url"}


@rule(
    "MK313",
    "flash-attn-alone",
    "warning",
    why="Its build imports torch, which is not there in an environment of its own: No module named 'torch'.",
)
def flash_attn_alone(file: ModalFile) -> Iterator[Problem]:
    """The package flash-attn built without torch: isolated, or before a step that installs torch."""
    if "flash" not in file.source.text:
        return
    for image in file.images:
        for index, step in enumerate(image.steps):
            at, before = _flash_attn(file, step)
            if at is None or _may_be_built(file, step):
                continue
            earlier = replace(image, steps=image.steps[:index])
            if not (_is_open(file, image, step) and _may_have_torch(file, earlier, before)):
                yield Problem(
                    at,
                    "flash-attn is built without torch beside it.",
                    '.uv_pip_install("torch==VERSION"), then .uv_pip_install("flash-attn==VERSION", '
                    'extra_options="--no-build-isolation"), or the address of a wheel.',
                )


def _flash_attn(file: ModalFile, step: Step) -> tuple[ast.expr | None, list[str]]:
    """Where a step builds flash-attn, if it does, and what its commands before that one install."""
    before: list[str] = []
    for command in _commands(file, step):
        for one in command:
            if _name(one.requirement) == "flash-attn" and ".whl" not in one.requirement:
                return one.at, before
        before += [one.requirement for one in command]
    return None, []


def _commands(file: ModalFile, step: Step) -> Iterator[list[Install]]:
    """What each command of a step installs, in their order; a step of pip is one command."""
    found = list(installs(step, file.names))
    if step.method not in {"run_commands", "run"}:
        yield found
        return
    for node in dict.fromkeys(one.at for one in found):
        for command in _NEXT_COMMAND.split(file.names.text(node) or ""):
            yield [Install(one, node) for one in requirements_of(command)]


def _may_have_torch(file: ModalFile, earlier: Image, before: Iterable[str]) -> bool:
    """Whether torch is there before a command, or may be: brought by another package, or by what is not known."""
    if earlier.base != "debian_slim":
        return True
    there, added = installed_in(earlier, file.names), brought_by(before)
    known = there.complete and added.complete
    return not known or "torch" in there.distributions | added.distributions


def _name(requirement: str) -> str:
    return canonicalize_name(re.split(r"[\s\[<>=!~@;]", requirement, maxsplit=1)[0])


def _may_be_built(file: ModalFile, step: Step) -> bool:
    """Whether a step may find a wheel that somebody built, in another index or by what is not known."""
    options = file.options(step.call)
    extra = options.value("extra_options")
    unclear = extra is not None and file.names.text(extra) is None
    return unclear or not options.complete or bool(_ELSEWHERE & set(options.given))


def _is_open(file: ModalFile, image: Image, step: Step) -> bool:
    """Whether a step builds in the image's own environment, which has torch."""
    extra = file.names.text(file.options(step.call).value("extra_options"))
    told = [one.call for one in image.steps if one.method in {"env", "run_commands"}]
    texts = [extra or "", *map(file.source.segment, [step.call, *told])]
    return any(_OPEN_BUILD.search(text) for text in texts)
