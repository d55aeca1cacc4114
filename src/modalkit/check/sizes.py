"""How large a model is: by its config where that is known, else by its name alone.

The configs of ``data/known_models.json`` are of published models, with their source. Sizing is loaded
only for a model that is there or lies beside the file, so that a check of other files stays quick.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SizingError
from .declared import ModalFile
from .models import Load, named_parameters, weight_bytes
from .paths import is_file

if TYPE_CHECKING:
    from ..sizing.model import ModelFacts

__all__ = ["Size", "facts_of", "size_of"]


@dataclass(frozen=True, slots=True)
class Size:
    """The weights of a model.

    Attributes:
        bytes: At least.
        by: Where that is from, as a message says it.
    """

    bytes: float
    by: str


def size_of(file: ModalFile, load: Load) -> Size | None:
    """Return the size of what is loaded; None where neither a config nor the name says it."""
    facts = facts_of(file, load)
    if facts is not None:
        kind = facts.quantization or facts.dtype
        return Size(facts.loaded_bytes, f"{facts.total_parameters / 1e9:.1f}B in {kind}")
    parameters, size = named_parameters(load.model), weight_bytes(load.model)
    if parameters is None or size is None:
        return None
    bits = f"{8 * size / parameters:.0f} bit"
    return Size(size, f"by its name, {parameters / 1e9:g}B in {bits}")


def facts_of(file: ModalFile, load: Load) -> ModelFacts | None:
    """Return the facts of a model whose config is known: published, or in a folder beside the file."""
    if load.is_declared and load.model.startswith("."):
        return _folder_facts(str(Path(file.source.path).parent / load.model))
    return _known_facts(load.model.lower())


@cache
def _known() -> Mapping[str, Mapping[str, object]]:
    """The config of each known model, by its hub id in small letters."""
    text = (files("modalkit") / "data" / "known_models.json").read_text("utf-8")
    return {name: one["config"] for one in json.loads(text)["models"] for name in one["names"]}


@cache
def _known_facts(name: str) -> ModelFacts | None:
    config = _known().get(name)
    if config is None:
        return None
    from ..sizing.model import model_facts  # noqa: PLC0415 - loads pydantic; few files name one

    return model_facts(config, name=name)


@cache
def _folder_facts(folder: str) -> ModelFacts | None:
    if not is_file(Path(folder) / "config.json"):
        return None
    from ..sizing.model import read_model  # noqa: PLC0415 - loads pydantic; few files have one

    try:
        return read_model(folder)
    except SizingError:
        return None
