"""Architectures put together from two: a vision or audio model around another text model or tower.

`llava`, `internvl`, `mistral3` and others hold any text model. Their file was read with one of them; for
another, that model's own file takes its place. LLaVA and its kin hold any of the usual vision towers
alike; another nested model than the one that was read is refused. A file may also leave a nested model
open (``holds``): it has what lies around it only, and the nested model's own file is always put in.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import SizingError
from .by_hand import BY_HAND
from .expressions import fields_of
from .layouts import architecture, known_architectures, text_stack
from .remote_code import ALIASES, EXPERT_COUNTS

__all__ = ["held_prefix", "layout_of"]

TEXT, VISION = "text_config", "vision_config"
# Towers that stand for each other in LLaVA and its kin: a width and nothing else is read of them outside.
_TOWERS = {"clip_vision_model", "siglip_vision_model", "siglip2_vision_model", "pixtral", "dinov2"}
_TEXT_PARTS = {"language_model", "text_model"}
_DECODER, _ENCODER_ROWS = "decoder", re.compile(r"(^|\.)(text_)?encoder\.")
# What attention to another model's states is called: OPT's kin and TrOCR, GPT-2 and BERT.
_CROSS_ATTENTION = ("encoder_attn.", "crossattention.")
_SUFFIXES = re.compile(r"(_text|_vision|_audio|_model|_encoder|_config|_tower)+$")

Row = dict[str, Any]
Layout = dict[str, Any]


def layout_of(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the architecture of a config, its nested models taken into account.

    Raises:
        SizingError: A model type, or a nested one, that this version does not know.
    """
    declared = raw.get("model_type")
    if not isinstance(declared, str) or not declared:
        msg = "The config must name its 'model_type'; it is what says how the model is built."
        raise SizingError(msg)
    outer = _known(declared)
    layout = architecture(outer)
    put_in: list[tuple[str, str]] = []
    for name, usual in layout["nested"].items():
        nested = raw.get(name)
        inside = nested.get("model_type") if isinstance(nested, Mapping) else None
        if name in layout.get("holds", ()):
            held = _known(inside if isinstance(inside, str) else usual)
            if name == _DECODER:
                _refuse_no_decoder(declared, held)
            put_in.append((name, held))
        elif not isinstance(inside, str) or _same(inside, usual, declared):
            continue
        elif name == TEXT:
            put_in.append((name, _known(inside)))
        elif name == VISION and usual in _TOWERS and inside in _TOWERS:
            put_in.append((name, inside))
        else:
            msg = (
                f"The {name!r} of {declared!r} is a {inside!r}; this version can size it with {usual!r} "
                f"only. {BY_HAND}"
            )
            raise SizingError(msg)
    whole = _put_together(outer, tuple(put_in))
    if declared in ALIASES or declared == "falcon" or _is_written_down(layout):
        _refuse_lost_experts(raw, whole)
    return whole


def _is_written_down(layout: Layout) -> bool:
    """Whether a file, or what it adds to another, comes from no class of transformers."""
    return "read_on" not in layout or ";" in layout["source"]


def _refuse_lost_experts(raw: dict[str, Any], layout: Layout) -> None:
    """Refuse a config that counts experts where no row has any: a relative of what was written down."""
    text = raw.get(TEXT)
    places = [raw, text] if isinstance(text, Mapping) else [raw]
    said = ((name, place.get(name)) for place in places for name in EXPERT_COUNTS)
    found = next(((name, one) for name, one in said if isinstance(one, int) and one > 1), None)
    if found is None or "expert" in str(layout["rows"]):
        return
    msg = (
        f"This {raw['model_type']!r} has experts ({found[0]!r} is {found[1]!r}), which this version does not "
        f"know of that model type; without, it would be sized too small. {BY_HAND}"
    )
    raise SizingError(msg)


def _refuse_no_decoder(declared: str, held: str) -> None:
    """Refuse a decoder whose file cannot attend to an encoder, or has an encoder of its own.

    Either would be sized as another model: BERT without its cross-attention and its head, T5 twice.
    """
    layout = architecture(held)
    stack = text_stack(layout)
    own_encoder = any(_ENCODER_ROWS.search(f"{_named(row)}.") for row in layout["rows"])
    attends = any(name in str(layout["rows"]) for name in _CROSS_ATTENTION)
    if stack is None or own_encoder or not attends:
        msg = (
            f"The 'decoder' of this {declared!r} is a {held!r}, which this version knows only without "
            f"attention to another encoder; it would be sized wrongly. {BY_HAND}"
        )
        raise SizingError(msg)


@functools.lru_cache(maxsize=256)
def _put_together(outer: str, put_in: tuple[tuple[str, str], ...]) -> Layout:
    """Put models into an architecture: each by the name of its config and its model type."""
    layout = architecture(outer)
    for name, model_type in put_in:
        inner = architecture(model_type)
        if name in layout.get("holds", ()):
            layout = _holding(layout, name, inner)
        elif name == TEXT:
            layout = _with_text(layout, inner)
        else:
            layout = _with_tower(layout, inner)
    return layout


def held_prefix(layout: Layout) -> str:
    """Return where the settings of the text model are that an embedder holds; nothing where it is one itself."""
    return f"{TEXT}." if TEXT in layout.get("holds", ()) else ""


def _known(model_type: str) -> str:
    return (
        model_type if model_type in known_architectures() else ALIASES.get(model_type, model_type)
    )


def _same(inside: str, usual: str, outside: str) -> bool:
    """Whether two names stand for one model: ``qwen2_5_vl`` for ``qwen2_5_vl_text`` inside itself.

    A class that has no name of its own (Qwen-Omni's talker) goes by any that begins with its owner's.
    """
    if not usual:
        return not inside or inside.startswith(outside)
    plain = {_SUFFIXES.sub("", name) for name in (ALIASES.get(inside, inside), usual)}
    return len(plain) == 1 or _SUFFIXES.sub("", inside) == _SUFFIXES.sub("", outside)


def _holding(outer: Layout, nested: str, inner: Layout) -> Layout:
    """Put in the model that an architecture leaves open; the outer file's own defaults stay."""
    whole = _with_text(outer, inner) if nested == TEXT else _beside(outer, inner, nested)
    left_out = tuple(outer.get("without", ()))
    rows = [row for row in whole["rows"] if not _named(row).startswith(left_out)]
    return {**whole, "rows": rows, "defaults": {**whole["defaults"], **outer["defaults"]}}


def _beside(outer: Layout, tower: Layout, nested: str) -> Layout:
    """Put a tower into an architecture that has none under a name."""
    prefix = nested.replace("_config", "_tower") + "."  # an encoder and a decoder keep their names
    named = [_below_name(row, prefix) for row in tower["rows"]]
    return _with(outer, {**tower, "rows": named}, nested, lambda _row: False)


def _with_text(outer: Layout, text: Layout) -> Layout:
    """Put another text model into an architecture."""
    # The outer class has the output head, and says whether it is tied.
    rows = [row for row in text["rows"] if not str(row.get("name")).startswith("lm_head")]
    head = {f"{TEXT}.vocab_size", f"{TEXT}.hidden_size"} - _keys(TEXT, text["defaults"]).keys()
    made = _with(outer, {**text, "rows": rows}, TEXT, _is_text)
    kept = {name: value for name, value in outer["defaults"].items() if name in head}
    return {**made, "defaults": {**kept, **made["defaults"]}}


def _with_tower(outer: Layout, tower: Layout) -> Layout:
    """Put another vision tower into an architecture."""
    named = [_below_name(row, "vision_tower.") for row in tower["rows"]]
    return _with(outer, {**tower, "rows": named}, VISION, _is_vision)


def _with(outer: Layout, inner: Layout, nested: str, replaced: Callable[[Row], bool]) -> Layout:
    """Put an architecture in the place of the one that another nests under a name."""

    def others(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if not name.startswith(f"{nested}.")}

    kept = [row for row in outer["rows"] if not replaced(row)]
    derived = {name: _prefixed(nested, value) for name, value in inner["derived"].items()}
    lists = {name: _moved_list(nested, rule) for name, rule in inner["lists"].items()}
    inside = {
        "pinned": inner.get("pinned", {}),
        "aliases": inner["aliases"],
        "defaults": inner["defaults"],
        "derived": derived,
        "lists": lists,
    }
    return {
        **outer,
        "rows": [*kept, *(_moved(nested, row) for row in inner["rows"])],
        **{
            part: {**others(outer.get(part, {})), **_keys(nested, values)}
            for part, values in inside.items()
        },
    }


def _is_text(row: Row) -> bool:
    """Whether a row belongs to the text model: projectors read its settings too."""
    return any(part in _TEXT_PARTS for part in _named(row).split("."))


def _is_vision(row: Row) -> bool:
    return "vision_tower" in _named(row).split(".")


def _named(row: Row) -> str:
    return str(row.get("name") or row["stack"])


def _below_name(row: Row, prefix: str) -> Row:
    key = "stack" if "stack" in row else "name"
    return {**row, key: f"{prefix}{row[key]}"}


def _moved(nested: str, row: Row) -> Row:
    """Let a row read its settings from a nested config."""
    moved = dict(row)
    if "when" in row:
        moved["when"] = _keys(nested, row["when"])
    if "shape" in row:
        moved["shape"] = [_prefixed(nested, size) for size in row["shape"]]
    if "stack" in row:
        moved["count"] = _prefixed(nested, row["count"])
        moved["parts"] = [_moved_part(nested, part) for part in row["parts"]]
    return moved


def _moved_part(nested: str, part: Row) -> Row:
    cases = {kind: [_moved(nested, row) for row in rows] for kind, rows in part["cases"].items()}
    moved = {**part, "cases": cases}
    if "by" in part:
        moved["by"] = _moved_rule(nested, part["by"])
    return moved


def _moved_list(nested: str, rule: Row) -> Row:
    return {**rule, "by": _moved_rule(nested, rule["by"])} if rule else rule


def _moved_rule(nested: str, rule: Row) -> Row:
    moved: Row = {}
    for key, value in rule.items():
        if key == "both":
            moved[key] = [_moved_rule(nested, one) for one in value]
        else:
            moved[key] = f"{nested}.{value}" if isinstance(value, str) else value
    return moved


def _keys(nested: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{nested}.{name}": value for name, value in values.items()}


def _prefixed(nested: str, expression: str) -> str:
    for name in sorted(fields_of(expression), key=len, reverse=True):
        place = rf"(?<![\w.]){re.escape(name)}(?![\w.])"
        expression = re.sub(place, f"{nested}.{name}", expression)
    return expression
