"""Tested sets: the versions of an engine, PyTorch, CUDA and transformers that belong together.

``data/engine_sets.json`` is the one place that pins them; engines, flag tables and the test
environments take their versions from it. ``scripts/refresh_engine_sets.py`` reads what a release
asks for from its own metadata.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Literal

from .._values import Value
from ..declare.image.tested import TestedSet

__all__ = ["EngineSet", "SetName", "engine_set", "engine_sets"]

SetName = Literal["sglang", "vllm", "transformers"]


class EngineSet(Value):
    """The versions an engine was tested with.

    Attributes:
        title: The engine's name for people.
        version: Its release.
        image: What its image starts from.
        python: Python series in the image.
        cuda: CUDA of the base image, or of the PyTorch that brings its own.
        torch: PyTorch's release.
        transformers: The release of transformers, or the ones allowed.
        tested_on: The day, as ``YYYY-MM-DD``.
        tested: What was tried, and on what.
        source: Where the requirements were read.
        requirements: What the release asks for, as far as it says which version.
    """

    title: str
    version: str
    image: str
    python: str
    cuda: str
    torch: str
    transformers: str
    tested_on: str
    tested: str
    source: str
    requirements: tuple[str, ...]

    def layer(self) -> TestedSet:
        """Return the step of an image that holds later ones to this set."""
        by = f"{self.title} {self.version}, a set tested on {self.tested_on}"
        itself = f"{self.title.lower()}=={self.version}"
        return TestedSet(by=by, requirements=(itself, *self.requirements))


@cache
def engine_sets() -> dict[SetName, EngineSet]:
    """Return every set, by the engine's short name."""
    text = (files("modalkit") / "data" / "engine_sets.json").read_text("utf-8")
    return {name: EngineSet(**one) for name, one in json.loads(text)["sets"].items()}


def engine_set(name: SetName) -> EngineSet:
    """Return an engine's set.

    Examples:
        >>> engine_set("sglang").torch
        '2.14.1'
    """
    return engine_sets()[name]
