"""Architectures put together from two: a vision or audio model around another text model.

`llava`, `internvl`, `mistral3` and others hold any text model. Their file was read with one of them; for
another, that model's own file takes its place. A tower other than the one that was read is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import SizingError
from .by_hand import BY_HAND
from .expressions import fields_of
from .layouts import architecture, known_architectures

__all__ = ["ALIASES", "as_known", "layout_of"]

TEXT = "text_config"
# Model types of remote code whose layout is that of a known class.
NEMOTRON_NAS = "nemotron-nas"
ALIASES = {
    "deepseek_ref": "deepseek_v4",
    "kimi_k2": "deepseek_v3",
    "mimo": "qwen2",
    NEMOTRON_NAS: "llama",
}
_TEXT_PARTS = {"language_model", "text_model"}
_SUFFIXES = re.compile(r"(_text|_vision|_audio|_model|_encoder|_config|_tower)+$")

Row = dict[str, Any]


def layout_of(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the architecture of a config, its nested models taken into account.

    Raises:
        SizingError: A model type, or a nested one, that this version does not know.
    """
    declared = raw.get("model_type")
    if not isinstance(declared, str) or not declared:
        msg = "The config must name its 'model_type'; it is what says how the model is built."
        raise SizingError(msg)
    layout = architecture(_known(declared))
    for name, usual in layout["nested"].items():
        nested = raw.get(name)
        inside = nested.get("model_type") if isinstance(nested, Mapping) else None
        if not isinstance(inside, str) or _same(inside, usual, declared):
            continue
        if name != TEXT:
            msg = (
                f"The {name!r} of {declared!r} is a {inside!r}; this version can size it with {usual!r} "
                f"only. {BY_HAND}"
            )
            raise SizingError(msg)
        layout = _with_text(layout, architecture(_known(inside)))
    return layout


def as_known(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a config as the class of a known architecture would read it.

    Nemotron-NAS (``DeciLMForCausalLM``) is Llama with attention and feed-forward of each layer's own
    size, or left out; its ``block_configs`` become one figure for each layer.

    Raises:
        SizingError: A layer that is neither.
    """
    blocks = raw.get("block_configs")
    if raw.get("model_type") != NEMOTRON_NAS or not isinstance(blocks, list):
        return raw
    heads, hidden = int(raw["num_attention_heads"]), int(raw["hidden_size"])
    attentions = [block["attention"] for block in blocks]
    forwards = [block["ffn"] for block in blocks]
    if any(one.get("replace_with_linear") for one in (*attentions, *forwards)):
        msg = (
            f"A layer of this {NEMOTRON_NAS!r} model has a linear map in place of its attention or "
            f"feed-forward, which this version cannot size. {BY_HAND}"
        )
        raise SizingError(msg)
    return raw | {
        "head_dim": hidden // heads,
        "num_attention_heads": [0 if one["no_op"] else heads for one in attentions],
        "num_key_value_heads": [
            0 if one["no_op"] else heads // one["n_heads_in_group"] for one in attentions
        ],
        "intermediate_size": [
            0 if one["no_op"] else _width(float(one["ffn_mult"]), hidden) for one in forwards
        ],
        "layer_types": ["identity" if one["no_op"] else "full_attention" for one in attentions],
    }


def _width(multiple: float, hidden: int) -> int:
    """Width of a Nemotron-NAS feed-forward: two thirds of a multiple, up to the next 256."""
    return -(-int(2 * multiple * hidden / 3) // 256) * 256


def _known(model_type: str) -> str:
    return (
        model_type if model_type in known_architectures() else ALIASES.get(model_type, model_type)
    )


def _same(inside: str, usual: str, outside: str) -> bool:
    """Whether two names stand for one model: ``qwen2_5_vl`` for ``qwen2_5_vl_text`` inside itself."""
    plain = {_SUFFIXES.sub("", name) for name in (ALIASES.get(inside, inside), usual)}
    return len(plain) == 1 or _SUFFIXES.sub("", inside) == _SUFFIXES.sub("", outside)


def _with_text(outer: dict[str, Any], text: dict[str, Any]) -> dict[str, Any]:
    """Put another text model into an architecture."""
    kept = [row for row in outer["rows"] if not _is_text(row)]
    # The outer class has the output head, and says whether it is tied.
    moved = [_moved(row) for row in text["rows"] if not str(row.get("name")).startswith("lm_head")]
    head = {f"{TEXT}.vocab_size", f"{TEXT}.hidden_size"} - {
        f"{TEXT}.{name}" for name in text["defaults"]
    }
    fields = {
        name: value for name, value in outer["defaults"].items() if not _below(name) or name in head
    }
    return {
        **outer,
        "rows": [*kept, *moved],
        "aliases": {
            **{prefix: names for prefix, names in outer["aliases"].items() if not _below(prefix)},
            **{f"{TEXT}.{prefix}": names for prefix, names in text["aliases"].items()},
        },
        "defaults": {**fields, **_keys(text["defaults"])},
        "derived": {
            **{name: value for name, value in outer["derived"].items() if not _below(name)},
            **{f"{TEXT}.{name}": _prefixed(value) for name, value in text["derived"].items()},
        },
        "lists": {
            **{name: rule for name, rule in outer["lists"].items() if not _below(name)},
            **{f"{TEXT}.{name}": _moved_list(rule) for name, rule in text["lists"].items()},
        },
    }


def _is_text(row: Row) -> bool:
    """Whether a row belongs to the text model: projectors read its settings too."""
    name = str(row.get("name") or row["stack"])
    return any(part in _TEXT_PARTS for part in name.split("."))


def _below(name: str) -> bool:
    return name.startswith(f"{TEXT}.")


def _moved(row: Row) -> Row:
    """Let a row read its settings from the nested config."""
    moved = dict(row)
    if "when" in row:
        moved["when"] = _keys(row["when"])
    if "shape" in row:
        moved["shape"] = [_prefixed(size) for size in row["shape"]]
    if "stack" in row:
        moved["count"] = _prefixed(row["count"])
        moved["parts"] = [_moved_part(part) for part in row["parts"]]
    return moved


def _moved_part(part: Row) -> Row:
    moved = {
        **part,
        "cases": {kind: [_moved(row) for row in rows] for kind, rows in part["cases"].items()},
    }
    if "by" in part:
        moved["by"] = _moved_rule(part["by"])
    return moved


def _moved_list(rule: Row) -> Row:
    return {**rule, "by": _moved_rule(rule["by"])} if rule else rule


def _moved_rule(rule: Row) -> Row:
    moved: Row = {}
    for key, value in rule.items():
        if key == "both":
            moved[key] = [_moved_rule(one) for one in value]
        else:
            moved[key] = f"{TEXT}.{value}" if isinstance(value, str) else value
    return moved


def _keys(values: dict[str, Any]) -> dict[str, Any]:
    return {f"{TEXT}.{name}": value for name, value in values.items()}


def _prefixed(expression: str) -> str:
    for name in sorted(fields_of(expression), key=len, reverse=True):
        expression = re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w.])", f"{TEXT}.{name}", expression)
    return expression
