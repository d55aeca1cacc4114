"""A model's ``config.json``, read the way its architecture writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from .expressions import evaluate
from .layer_types import derived_list

__all__ = ["Config", "Settings"]


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
        _tie_as_text(given, fields)
        _gate_as_said(given, fields)
        if str(layout["model_type"]).startswith("gemma4"):
            _imply_gemma_4(given, fields)
        for name, expression in layout["derived"].items():
            if given.get(name) is None:
                fields[name] = evaluate(expression, fields)
        _spread_per_layer(fields)
        for name, rule in layout["lists"].items():
            found = derived_list(name, rule, given, fields)
            fields[name] = layout.get("pinned", {}).get(name) if found is None else found
        return cls(str(raw.get("model_type", layout["model_type"])), raw, fields)


@dataclass(frozen=True, slots=True)
class Settings:
    """The fields of one nested config.

    Attributes:
        fields: Values by dotted name.
        prefix: Where the nested config is, such as ``text_config.``; empty for the whole.
    """

    fields: Mapping[str, object]
    prefix: str

    def get(self, name: str) -> object:
        """Return a field's value, or None."""
        return self.fields.get(f"{self.prefix}{name}")

    def number(self, *names: str) -> int:
        """Return the first of these fields that is a whole number other than 0; else 0."""
        values = (self.get(name) for name in names)
        return next((one for one in values if isinstance(one, int) and one is not True and one), 0)


def _text_nested(raw: dict[str, Any], layout: dict[str, Any]) -> dict[str, Any]:
    """Read a flat config of a class that nests its text settings."""
    nests = any(name.startswith("text_config.") for name in layout["defaults"])
    if nests and "text_config" not in raw and "hidden_size" in raw:
        return {**raw, "text_config": dict(raw)}
    return raw


_TIED = "tie_word_embeddings"


def _tie_as_text(given: Mapping[str, object], fields: dict[str, object]) -> None:
    """Read off the text model whether its head is the embedding, where the whole does not say.

    Configs that transformers 4 wrote say it there only; its later classes would take them to be tied,
    and find another head in the files.
    """
    inner = fields.get(f"text_config.{_TIED}")
    if given.get(_TIED) is None and inner is not None:
        fields[_TIED] = inner


def _gate_as_said(given: Mapping[str, object], fields: dict[str, object]) -> None:
    """Read T5's switch off the name of its feed-forward, as T5Config does: ``"gated-gelu"``."""
    for path in [path for path in given if path.rpartition(".")[2] == "feed_forward_proj"]:
        switch = path.replace("feed_forward_proj", "is_gated_act")
        if given.get(switch) is None:
            fields[switch] = str(given[path]).startswith("gated")


_GLOBAL_HEADS = "num_global_key_value_heads"
# Gemma 4's switches, and the field whose presence stands for them where a config leaves them out.
_IMPLIED = {"enable_moe_block": "num_experts", "attention_k_eq_v": _GLOBAL_HEADS}
_PER_LAYER_INPUT = "hidden_size_per_layer_input"


def _imply_gemma_4(given: Mapping[str, object], fields: dict[str, object]) -> None:
    """Read Gemma 4's switches off what else a config says.

    A config that counts experts has them; only the E models have embeddings per layer.
    """
    for switch, sign in _IMPLIED.items():
        for name in [name for name in fields if name.endswith(switch)]:
            if given.get(name) is None and given.get(name.replace(switch, sign)):
                fields[name] = True
    for path in [path for path in fields if path.rpartition(".")[2] == "per_layer_config"]:
        _imply_global_heads(path.removesuffix("per_layer_config"), fields.pop(path), fields)
    for name in [name for name in fields if name.endswith(_PER_LAYER_INPUT)]:
        vocabulary = name.replace(_PER_LAYER_INPUT, "vocab_size_per_layer_input")
        if given.get(name) is None and given.get(vocabulary) is None and vocabulary in fields:
            fields[name] = 0


def _imply_global_heads(prefix: str, changed: object, fields: dict[str, object]) -> None:
    """Read the full-attention layers' heads where they are written layer by layer."""
    if not isinstance(changed, Mapping):
        return
    own: Mapping[str, object] = next(iter(changed.values()), {})
    for name, one in (("global_head_dim", "head_dim"), (_GLOBAL_HEADS, "num_key_value_heads")):
        if one in own:
            fields[f"{prefix}{name}"] = own[one]


def _spread_per_layer(fields: dict[str, object]) -> None:
    """Read a figure for each layer in place of the one for all.

    ``num_attention_heads_per_layer`` lists them; ``per_layer_config`` names the layers that differ.
    """
    for path in [path for path in fields if path.rpartition(".")[2] == "per_layer_config"]:
        changed, prefix = fields[path], path.removesuffix("per_layer_config")
        count = fields.get(f"{prefix}num_hidden_layers")
        if isinstance(changed, Mapping) and isinstance(count, int):
            _lay_over(fields, prefix, changed, count)
    for name in [name for name in fields if name.endswith("_per_layer")]:
        figures, one = fields[name], name.removesuffix("_per_layer")
        if isinstance(figures, list) and one in fields:
            fields[one] = figures


def _lay_over(
    fields: dict[str, object], prefix: str, changed: Mapping[str, Mapping[str, object]], count: int
) -> None:
    for name in {name for settings in changed.values() for name in settings}:
        figures = [fields.get(f"{prefix}{name}")] * count
        for layer, settings in changed.items():
            figures[int(layer)] = settings.get(name, figures[int(layer)])
        fields[f"{prefix}{name}"] = figures


_SIDES = {"encoder", "decoder"}  # nested configs of T5Gemma


def _flat(raw: dict[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in raw.items():
        if isinstance(value, dict) and (name.endswith("config") or name in _SIDES):
            yield from _flat(value, f"{prefix}{name}.")
        yield f"{prefix}{name}", value


def _same(given: dict[str, object], first: str, second: str) -> None:
    for one, other in ((first, second), (second, first)):
        if given.get(one) is not None and given.get(other) is None:
            given[other] = given[one]
