"""Images, as far as this version goes: recorded, and their environment, folder and files honoured.

Nothing is installed: functions run on the Python that runs the plane. What a recipe would have
installed or run is kept for the one notice that says so.
"""

from __future__ import annotations

import importlib.metadata
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .ids import content_id
from .protocol import api
from .state import Records

__all__ = ["Images", "Recipe"]

_KIND = "image"
_PIP_INSTALL = re.compile(r"\bpip install\s")
_REQUIREMENT = re.compile(r"([A-Za-z0-9][\w.-]*)(\[[^]]*\])?\s*([=<>!~;@ ].*)?")
_PLAIN_OPTIONS = {"--compile-bytecode", "--pre", "--upgrade", "-U", "--no-deps", "--no-cache-dir"}
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image means to a container here.

    Attributes:
        copies: ``(mount id, source, destination)`` of files copied into the image.
        packages: Names of the Python packages it would have installed.
        steps: Other build steps; they are not carried out.
    """

    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/root"
    copies: tuple[tuple[str, str, str], ...] = ()
    packages: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    def missing_packages(self) -> list[str]:
        """Return the packages that this machine's Python does not have either."""
        return sorted({name for name in self.packages if not _installed(name)})


class Images:
    """Every image definition this state folder has seen, by content."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def add(self, image: api.Image) -> str:
        """Record an image and return its id, the same for the same definition."""
        body = image.SerializeToString(deterministic=True)
        image_id = content_id("im", body)
        if self._records.by_id(image_id) is None:
            self._records.put(_KIND, "", image_id, image_id, body)
        return image_id

    def known(self, image_id: str) -> bool:
        """Return whether there is such an image."""
        return self._records.by_id(image_id) is not None

    def recipe(self, image_id: str) -> Recipe:
        """Work out what an image means, from its base up."""
        record = self._records.by_id(image_id) if image_id else None
        if record is None:
            return Recipe()
        image = api.Image.FromString(record.body)
        recipe = Recipe()
        for base in image.base_images:
            if base.docker_tag == "base":
                recipe = self.recipe(base.image_id)
        for command in _joined(image.dockerfile_commands):
            recipe = _follow(recipe, command, image.context_mount_id)
        if not image.base_images:
            return replace(recipe, packages=(), steps=())  # what every image begins with
        for context in image.context_files:
            if context.filename.endswith("requirements.txt"):
                listed = _packages(context.data.decode(errors="replace").splitlines())
                recipe = replace(recipe, packages=recipe.packages + listed)
        if image.HasField("build_function"):
            recipe = replace(recipe, steps=(*recipe.steps, "run_function"))
        return recipe


def _joined(commands: list[str]) -> list[str]:
    """Join the lines of a Dockerfile that end in a backslash."""
    text = "\n".join(commands)
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def _follow(recipe: Recipe, command: str, context_mount: str) -> Recipe:
    """Apply one Dockerfile line."""
    word, _, rest = command.partition(" ")
    match word.upper():
        case "ENV":
            return replace(recipe, env=_with_variables(recipe.env, rest))
        case "WORKDIR":
            return replace(recipe, workdir=shlex.split(rest)[0])
        case "COPY" if context_mount and not rest.startswith("--"):
            *sources, destination = shlex.split(rest)
            copies = tuple((context_mount, source, destination) for source in sources)
            return replace(recipe, copies=recipe.copies + copies)
        case "RUN" if (found := _PIP_INSTALL.search(rest)) is not None:
            packages = _packages(shlex.split(rest[found.end() :]))
            return replace(recipe, packages=recipe.packages + packages)
        case "RUN":
            return replace(recipe, steps=(*recipe.steps, rest))
        case _:
            return recipe


def _packages(words: Iterable[str]) -> tuple[str, ...]:
    """Return the package names among a pip command's words or a requirements file's lines."""
    names, skip = [], False
    for word in words:
        if not skip and (found := _REQUIREMENT.fullmatch(word.strip())):
            names.append(found[1])
        skip = word.startswith("-") and "=" not in word and word not in _PLAIN_OPTIONS
    return tuple(names)


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _with_variables(env: dict[str, str], text: str) -> dict[str, str]:
    changed = dict(env)
    parts = shlex.split(text)
    if parts and "=" not in parts[0]:  # the old form: ENV NAME the whole rest
        parts = [f"{parts[0]}={' '.join(parts[1:])}"]
    for part in parts:
        name, _, value = part.partition("=")
        changed[name] = _VARIABLE.sub(
            lambda found: changed.get(found[1] or found[2], found[0]), value
        )
    return changed
