"""From an image's definition to its recipe: one layer's lines laid over what its base says."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ..protocol import api
from .commands import read_command
from .dockerfile import Instruction, assignments, filled_in, read_instructions, words
from .steps import AddFiles, CallFunction, Install, Lacking, Recipe, RunCommand, Step, WriteFile

__all__ = ["lay_over"]

_PYTHON_TAG = re.compile(r"(?:.*/)?python:(\d+\.\d+)?")
_CONDA_PYTHON = re.compile(r"micromamba install -n base -y python=(\d+\.\d+)")
_STANDALONE = re.compile(r"python-build-standalone\.\w+\.(\d+\.\d+)")
_SERVING = ("/modal_requirements.txt", "/.requirements.txt", "/.uv/", "/tmp/poetry/")  # noqa: S108 - paths in the image
_UV_IMAGE = re.compile(r"--from=(.*/)?uv(:|$|@)")


def lay_over(base: Recipe | None, image: api.Image, mount_name: Callable[[str], str]) -> Recipe:
    """Return the recipe of an image on its base.

    ``mount_name`` returns the name a mount was published under; empty for one without.
    """
    reader = _Reader(base or Recipe(), image, mount_name)
    for instruction in read_instructions(image.dockerfile_commands):
        reader.follow(instruction)
    if image.HasField("build_function"):
        reader.steps.append(CallFunction(image.build_function.input.SerializeToString()))
    reader.steps = [
        replace(step, volumes=tuple(image.volume_mounts)) if isinstance(step, RunCommand) else step
        for step in reader.steps
    ]
    poetry = any("poetry install" in line for line in image.dockerfile_commands)
    return replace(reader.recipe, steps=tuple(_needed(reader.steps, poetry=poetry)))


class _Reader:
    """Follows one layer's instructions; ``recipe`` is what holds so far."""

    def __init__(self, base: Recipe, image: api.Image, mount_name: Callable[[str], str]) -> None:
        self.recipe = replace(base, args={**base.args, **image.build_args}, steps=())
        self.steps: list[Step] = []
        self._given = dict(image.build_args)
        self._mount_id = image.context_mount_id
        self._mount_name = mount_name(self._mount_id)
        self._bases = {entry.docker_tag for entry in image.base_images}
        self._context = {
            posixpath.normpath(f"/{entry.filename}"): entry.data for entry in image.context_files
        }
        self._files: dict[str, bytes] = {}

    @property
    def _variables(self) -> Mapping[str, str]:
        return {**self.recipe.args, **self.recipe.env}

    def follow(self, instruction: Instruction) -> None:
        """Apply one instruction; those that mean nothing here are left out."""
        rest = instruction.rest
        match instruction.name:
            case "FROM":
                self._start_from(rest)
            case "ENV":
                env = {**self.recipe.env, **assignments(rest, self._variables)}
                self.recipe = replace(self.recipe, env=env)
            case "ARG":
                self._declare(rest)
            case "WORKDIR":
                folder = filled_in(shlex.split(rest)[0], self._variables)
                folder = posixpath.join(self.recipe.workdir, folder)
                self.recipe = replace(self.recipe, workdir=folder)
            case "SHELL":
                self.recipe = replace(self.recipe, shell=tuple(words(rest)))
            case "ENTRYPOINT":
                self.recipe = replace(self.recipe, entrypoint=tuple(words(rest)))
            case "CMD":
                self.recipe = replace(self.recipe, command=tuple(words(rest)))
            case "COPY" | "ADD":
                self._copy(instruction)
            case "RUN":
                self._run(shlex.join(words(rest)) if rest.startswith("[") else rest)

    def _start_from(self, rest: str) -> None:
        tag = filled_in(rest, self._variables).split()[0]
        self.steps.clear()  # a later FROM begins another stage; only the last one is the image
        if tag in self._bases or tag == "scratch":
            return
        if found := _PYTHON_TAG.match(tag):
            self.recipe = replace(self.recipe, python=found[1] or "")
        else:
            self.steps.append(Lacking(f"the files of the registry image {tag!r}"))

    def _declare(self, rest: str) -> None:
        name, equals, _ = rest.partition("=")
        known = self._given.get(name.strip())
        value = assignments(rest, self._variables) if equals and known is None else {}
        self.recipe = replace(self.recipe, args={**self.recipe.args, **value})

    def _copy(self, instruction: Instruction) -> None:
        if any(flag.startswith("--from=") for flag in instruction.flags):
            if not any(_UV_IMAGE.match(flag) for flag in instruction.flags):
                origin = instruction.flags[0].partition("=")[2]
                self.steps.append(Lacking(f"the files of {origin!r}"))
            return
        if found := _STANDALONE.match(self._mount_name):
            self.recipe = replace(self.recipe, python=found[1])
            return
        *sources, destination = words(filled_in(instruction.rest, self._variables))
        ends_in_slash = destination.endswith("/") or destination == "."
        destination = posixpath.normpath(posixpath.join(self.recipe.workdir, destination))
        for source in sources:
            self._copy_one(source, f"{destination}/" if ends_in_slash else destination)

    def _copy_one(self, source: str, destination: str) -> None:
        data = self._context.get(posixpath.normpath(f"/{source}"))
        if "://" in source:
            self.steps.append(Lacking(f"the download {source!r}"))
        elif data is not None:
            name = posixpath.basename(source) if destination.endswith("/") else ""
            self._files[destination + name] = data
            self.steps.append(WriteFile(destination + name, data))
        elif self._mount_id:
            self.steps.append(AddFiles(self._mount_id, source, destination))

    def _run(self, command: str) -> None:
        if found := _CONDA_PYTHON.match(command):
            self.recipe = replace(self.recipe, python=found[1])
            self.steps.append(Lacking("conda"))
            return
        env = {**self.recipe.args, **self.recipe.env}
        known = read_command(command, self._files, env)
        self.steps += known.parts
        if known.rest:
            self.steps.append(
                RunCommand(known.rest, self.recipe.shell, self.recipe.workdir, tuple(env.items()))
            )


def _needed(steps: list[Step], *, poetry: bool) -> Iterator[Step]:
    """Leave out files and tools that only served steps done in another way."""
    for step in steps:
        if isinstance(step, WriteFile) and step.path.startswith(_SERVING):
            continue
        if isinstance(step, Install) and not step.requirements:
            continue
        if isinstance(step, Install) and poetry and _is_poetry_itself(step):
            continue
        yield step


def _is_poetry_itself(step: Install) -> bool:
    return len(step.requirements) == 1 and step.requirements[0].startswith("poetry")
