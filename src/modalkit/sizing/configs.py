"""A model's ``config.json``, read the way its architecture writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from .expressions import evaluate
from .layer_types import derived_list

__all__ = ["Config"]


@dataclass(frozen=True, slots=True)
class Config:
    """A config with every field its architecture reads.

    Attributes:
        model_type: Such as ``"qwen3_moe"``.
        raw: The config as it stands in the file.
        fields: Values by dotted name (``text_config.hidden_size``), defaults and derived ones included.
    """

    model_type: str
    raw: dict[str, Any]
    fields: Mapping[str, object]

    @classmethod
    def read(cls, raw: dict[str, Any], layout: dict[str, Any]) -> Self:
        """Fill in what the config leaves out, by the architecture's own defaults.

        Args:
            raw: A parsed ``config.json``.
            layout: The architecture file of its ``model_type``.
        """
        given = dict(_flat(_text_nested(raw, layout), ""))
        for prefix, aliases in layout["aliases"].items():
            for alias, name in aliases.items():
                _same(given, f"{prefix}{alias}", f"{prefix}{name}")
        fields: dict[str, object] = {**layout["defaults"]}
        fields.update(given)
        _imply_gemma_4(given, fields)
        for name, expression in layout["derived"].items():
            if given.get(name) is None:
                fields[name] = evaluate(expression, fields)
        for name, rule in layout["lists"].items():
            fields[name] = derived_list(name, rule, given, fields)
        return cls(str(raw.get("model_type", layout["model_type"])), raw, fields)


def _text_nested(raw: dict[str, Any], layout: dict[str, Any]) -> dict[str, Any]:
    """Read a flat config of a class that nests its text settings."""
    nests = any(name.startswith("text_config.") for name in layout["defaults"])
    if nests and "text_config" not in raw and "hidden_size" in raw:
        return {**raw, "text_config": dict(raw)}
    return raw


# Gemma 4's switches, and the field whose presence stands for them where a config leaves them out.
_IMPLIED = {"enable_moe_block": "num_experts", "attention_k_eq_v": "num_global_key_value_heads"}
_PER_LAYER_INPUT = "hidden_size_per_layer_input"


def _imply_gemma_4(given: Mapping[str, object], fields: dict[str, object]) -> None:
    """Read Gemma 4's switches off what else a config says.

    A config that counts experts has them; only the E models have embeddings per layer.
    """
    for switch, sign in _IMPLIED.items():
        for name in [name for name in fields if name.endswith(switch)]:
            if given.get(name) is None and given.get(name.replace(switch, sign)):
                fields[name] = True
    for name in [name for name in fields if name.endswith(_PER_LAYER_INPUT)]:
        vocabulary = name.replace(_PER_LAYER_INPUT, "vocab_size_per_layer_input")
        if given.get(name) is None and given.get(vocabulary) is None and vocabulary in fields:
            fields[name] = 0


def _flat(raw: dict[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in raw.items():
        if isinstance(value, dict) and name.endswith("config"):
            yield from _flat(value, f"{prefix}{name}.")
        yield f"{prefix}{name}", value


def _same(given: dict[str, object], first: str, second: str) -> None:
    for one, other in ((first, second), (second, first)):
        if given.get(one) is not None and given.get(other) is None:
            given[other] = given[one]
