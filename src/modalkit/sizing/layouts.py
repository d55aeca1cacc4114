"""What an architecture is made of: every parameter's name and shape, for a given config.

The files in ``data/architectures`` are written by ``scripts/refresh_architectures.py`` from
transformers' own model classes, built on torch's meta device from symbolic configs; each was checked
against the class it came from at several sizes. Those of models that only engines have classes for are
written down module by module (``scripts/write_served_architectures.py``). Nothing here is guessed.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..errors import SizingError
from .by_hand import BY_HAND
from .expressions import evaluate, fields_of
from .layer_rules import kind_of

__all__ = [
    "Parameter",
    "TextStack",
    "architecture",
    "known_architectures",
    "parameters",
    "text_stack",
]

Fields = Mapping[str, object]
_MOST = 65_536  # layers of a stack, experts of a layer
_WIDEST = 1 << 40  # of one side of a parameter


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, or the same parameter of several layers.

    Attributes:
        name: Its name; ``{}`` stands for a layer's number, as in ``model.layers.{}.mlp.up_proj.weight``.
        shape: Its shape, in elements.
        layers: The layers that have it; empty for a parameter outside every stack.
        copies: How many of it there are in each layer (experts kept one by one).
    """

    name: str
    shape: tuple[int, ...]
    layers: tuple[int, ...] = ()
    copies: int = 1

    @property
    def elements(self) -> int:
        """Elements of all of it together."""
        return math.prod(self.shape) * self.copies * max(1, len(self.layers))


@functools.cache
def known_architectures() -> frozenset[str]:
    """Return every ``model_type`` with an architecture file."""
    folder = files("modalkit") / "data" / "architectures"
    return frozenset(entry.name.removesuffix(".json") for entry in folder.iterdir())


@functools.cache
def architecture(model_type: str) -> dict[str, Any]:
    """Return an architecture file.

    Raises:
        SizingError: There is none for that model type.
    """
    if model_type not in known_architectures():
        msg = f"The model type {model_type!r} is not one this version can size. {BY_HAND}"
        raise SizingError(msg)
    path = files("modalkit") / "data" / "architectures" / f"{model_type}.json"
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


def parameters(layout: dict[str, Any], fields: Fields) -> Iterator[Parameter]:
    """Yield every parameter of a model.

    Args:
        layout: An architecture file.
        fields: The config, flattened to dotted names, defaults filled in.

    Raises:
        SizingError: The config lacks a number, has a kind of layer the architecture does not know, or
            another figure where the architecture was read with one only.
    """
    _refuse_others(layout, fields)
    yield from _rows(layout["rows"], fields, "", (), 1)


def _refuse_others(layout: dict[str, Any], fields: Fields) -> None:
    """Refuse figures that change parts whose layers follow no rule, such as a codec's convolutions."""
    for name, usual in layout.get("pinned", {}).items():
        given = fields.get(name, usual)
        if _written(given) != _written(usual):
            msg = (
                f"The config's {name!r} is {given!r}; this version can size a {layout['model_type']!r} "
                f"with {usual!r} only. {BY_HAND}"
            )
            raise SizingError(msg)


def _written(value: object) -> object:
    """A figure, or figures, as text: a list of kinds may hold numbers, and JSON whole ones as ``512.0``."""
    if isinstance(value, list | tuple):
        return [_written(one) for one in value]
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _rows(
    rows: list[dict[str, Any]], fields: Fields, prefix: str, layers: tuple[int, ...], copies: int
) -> Iterator[Parameter]:
    for row in rows:
        if not _holds(row, fields):
            continue
        if "stack" in row:
            yield from _stack(row, fields, prefix, layers, copies)
        else:
            shape = tuple(evaluate(size, fields) for size in row["shape"])
            if any(not 0 <= size <= _WIDEST for size in shape):
                raise SizingError(_impossible(prefix + row["name"], row["shape"], shape))
            if all(shape):
                yield Parameter(prefix + row["name"], shape, layers, copies)


def _impossible(name: str, sizes: list[str], shape: tuple[int, ...]) -> str:
    size, found = next(
        (size, found) for size, found in zip(sizes, shape, strict=True) if not 0 <= found <= _WIDEST
    )
    wrong = "below 0" if found < 0 else f"above {_WIDEST:,}"
    return f"The config makes {name!r} of a size {wrong} ({size} = {found}); correct the figures it is made of. {BY_HAND}"


def _stack(
    row: dict[str, Any], fields: Fields, prefix: str, layers: tuple[int, ...], copies: int
) -> Iterator[Parameter]:
    """Yield a stack's parameters; a stack inside a layer only multiplies."""
    count = evaluate(row["count"], fields)
    if count > _MOST:
        msg = f"The config has {count:,} of {row['stack']!r} ({row['count']}); more than {_MOST:,} is no model. {BY_HAND}"
        raise SizingError(msg)
    inside = f"{prefix}{row['stack']}.{{}}."
    for part in row["parts"]:
        if not _holds(part, fields):
            continue
        for kind, numbers in _kinds(part, fields, count).items():
            rows = _case(part, kind, row["stack"])
            if layers or copies > 1:
                yield from _rows(rows, fields, inside, layers, copies * len(numbers))
                continue
            for group, own in _by_own_fields(fields, numbers, count):
                yield from _rows(rows, own, inside, group, copies)


def _by_own_fields(
    fields: Fields, numbers: tuple[int, ...], count: int
) -> Iterator[tuple[tuple[int, ...], Fields]]:
    """Group layers that have the same figures where a config lists one for each layer."""
    varying = {
        name: value
        for name, value in fields.items()
        if isinstance(value, list)
        and len(value) == count
        and isinstance(value[0], int)
        and any(one != value[0] for one in value)
    }
    if not varying:
        yield numbers, fields
        return
    groups: dict[tuple[object, ...], list[int]] = {}
    for layer in numbers:
        groups.setdefault(tuple(value[layer] for value in varying.values()), []).append(layer)
    for figures, group in groups.items():
        yield tuple(group), {**fields, **dict(zip(varying, figures, strict=True))}


def _kinds(part: dict[str, Any], fields: Fields, count: int) -> dict[str, tuple[int, ...]]:
    """Group a stack's layers by the kind they are in one of their parts."""
    rule = part.get("by")
    if rule is None:
        return {"": tuple(range(count))} if count else {}
    grouped: dict[str, list[int]] = {}
    for layer in range(count):
        grouped.setdefault(kind_of(rule, fields, layer, count), []).append(layer)
    return {kind: tuple(numbers) for kind, numbers in grouped.items()}


def _case(part: dict[str, Any], kind: str, stack: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] | None = part["cases"].get(kind)
    if rows is None:
        known = ", ".join(repr(one) for one in sorted(part["cases"]))
        msg = f"The config has a layer of kind {kind!r} in {stack!r}; this version knows {known}. {BY_HAND}"
        raise SizingError(msg)
    return rows


def _holds(row: dict[str, Any], fields: Fields) -> bool:
    conditions: dict[str, object] = row.get("when", {})
    return all(bool(fields.get(name)) == wanted for name, wanted in conditions.items())


@dataclass(frozen=True, slots=True)
class TextStack:
    """Where an architecture's text model is.

    Attributes:
        path: Its stack of layers, such as ``model.language_model.layers``.
        prefix: Its settings, such as ``text_config.``.
        count: How many layers it has, as an expression over the config.
    """

    path: str
    prefix: str
    count: str


# Stacks beside the text model's: what sees, hears or reads before it.
_BESIDE = (
    "vision",
    "visual",
    "audio",
    "tower",
    "image",
    "speech",
    "qformer",
    "perceiver",
    "talker",
    "token2wav",
    "code2wav",
    "codec",
    "depth_decoder",
    "vq",
    "encoder",
)
# Classes that generate text although they are named like a plain one.
_GENERATING = ("LMHeadModel", "MTModel")
# These generate text with layers that they call an encoder.
_ENCODER_IN_NAME = {"cpmant", "git"}


def text_stack(layout: dict[str, Any]) -> TextStack | None:
    """Return an architecture's text model; None for an encoder, which keeps no token."""
    read_from = str(layout["source"]).split()[-1]
    if layout.get("encoder"):
        return None
    if read_from.endswith("Model") and not read_from.endswith(_GENERATING):
        return None  # the plain class
    beside = _BESIDE[:-1] if layout["model_type"] in _ENCODER_IN_NAME else _BESIDE
    stacks = [row for row in layout["rows"] if "stack" in row and "num_experts" not in row["count"]]
    text = [row for row in stacks if not any(word in row["stack"] for word in beside)]
    if not text:
        return None
    longest = max(text, key=lambda row: len(row["parts"]))
    counted_by = fields_of(longest["count"])
    prefix = counted_by[0].rpartition(".")[0] if counted_by else ""
    return TextStack(longest["stack"], f"{prefix}." if prefix else "", longest["count"])
