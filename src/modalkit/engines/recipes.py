"""Recipes: what is known to suit a model family on an engine, as defaults for its fields.

``data/recipes.json`` is kept by hand, with its sources. A recipe never weighs more than what is
declared, and never asks for code that comes with weights to be run: that is said, not done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

from pydantic import Field, JsonValue

from .._values import Value
from .flags import EngineName

__all__ = ["Recipe", "RecipeUse", "recipe_for", "recipe_named", "recipes"]

_TRUST = (
    "It is usually served with trust_remote_code=True, which runs Python that comes with the "
    "weights; no recipe decides that for you."
)


class Recipe(Value):
    """What suits one model family.

    Attributes:
        name: How a declaration names it: ``SGLang(recipe="qwen3")``.
        title: The family's name for people.
        models: Patterns of hub ids, in lower case; the first recipe that has one is the model's.
        sglang: Fields of `SGLang`, with their values.
        vllm: Fields of `VLLM`, with their values.
        asks_trust: Whether the sources serve it with ``trust_remote_code``; a recipe does not.
        notes: What else to think of.
        sources: Where it was read.
    """

    name: str
    title: str
    models: tuple[str, ...]
    sglang: dict[str, JsonValue] = Field(default_factory=dict)
    vllm: dict[str, JsonValue] = Field(default_factory=dict)
    asks_trust: bool = False
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def fields(self, engine: EngineName) -> Mapping[str, JsonValue]:
        """Return the fields of an engine, with their values."""
        return self.sglang if engine == "sglang" else self.vllm

    def used_by(self, engine: EngineName, declared: Mapping[str, object]) -> RecipeUse:
        """Return what it does for a declaration.

        Args:
            engine: Of which engine.
            declared: The fields that the declaration sets, with their values.
        """
        fields = self.fields(engine).items()
        trust = (_TRUST,) if self.asks_trust and not declared.get("trust_remote_code") else ()
        return RecipeUse(
            name=self.name,
            title=self.title,
            fields={name: value for name, value in fields if name not in declared},
            overridden={
                name: value
                for name, value in fields
                if name in declared and declared[name] != value
            },
            notes=(*self.notes, *trust),
        )


class RecipeUse(Value):
    """What a recipe does for one engine declaration.

    Attributes:
        name: The recipe's name.
        title: The family's name for people.
        fields: What it decides, since the declaration does not.
        overridden: What it would decide, and the declaration decides otherwise.
        notes: What else to think of.
    """

    name: str
    title: str
    fields: dict[str, JsonValue] = Field(default_factory=dict)
    overridden: dict[str, JsonValue] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


@cache
def recipes() -> tuple[Recipe, ...]:
    """Return every recipe; the first that fits a model is the model's."""
    data = json.loads((files("modalkit") / "data" / "recipes.json").read_text("utf-8"))
    sources: dict[str, str] = data["sources"]
    return tuple(
        Recipe(**{**one, "sources": [sources[key] for key in one["sources"]]})
        for one in data["recipes"]
    )


def recipe_named(name: str) -> Recipe | None:
    """Return the recipe of a name."""
    return next((one for one in recipes() if one.name == name), None)


def recipe_for(model: str) -> Recipe | None:
    """Return the recipe of a model by its hub id; a path in the container has none.

    Examples:
        >>> recipe_for("Qwen/Qwen3-8B").name
        'qwen3'
        >>> recipe_for("/models/Qwen3-8B") is None
        True
    """
    if model.startswith(("/", ".")):
        return None
    wanted = model.lower()
    fitting = (one for one in recipes() if any(fnmatchcase(wanted, p) for p in one.models))
    return next(fitting, None)
