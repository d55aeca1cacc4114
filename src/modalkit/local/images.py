"""Images, as far as this version goes: recorded, and their environment, folder and files honoured.

Nothing is installed: functions run on the Python that runs the plane. What a recipe would have
installed is kept as text, for the one notice that says so.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace

from .ids import content_id
from .protocol import api
from .state import Records

__all__ = ["Images", "Recipe"]

_KIND = "image"
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image means to a container here.

    Attributes:
        copies: ``(mount id, source, destination)`` of files copied into the image.
        not_done: Build steps that were not carried out.
    """

    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/root"
    copies: tuple[tuple[str, str, str], ...] = ()
    not_done: tuple[str, ...] = ()


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
        if image.HasField("build_function"):
            recipe = replace(recipe, not_done=(*recipe.not_done, "run_function"))
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
        case "RUN":
            return replace(recipe, not_done=(*recipe.not_done, rest))
        case _:
            return recipe


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
