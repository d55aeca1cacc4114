"""Lay the models of every flipped switch over the base model, and find each layer's rule."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping

from transformers import PreTrainedConfig

from modalkit.sizing.layer_rules import kind_of

from .configs import plain, walk
from .layout import Row

__all__ = ["lists_layers", "merge", "rule_of"]

# Stacks of convolutions, each of a width of its own; they never hold the layers that keep tokens.
_LISTED = re.compile(
    r"conv|vq|codec|code2wav|token2wav|subsampl|upsampl|resblock|flow|feature_extract|vocoder|quantiz|"
    r"wavenet|tokenizer"
)

_HALVES = 3  # T5's layers are lists of their attentions and their feed-forward

Flips = Mapping[str, tuple[object, list[Row]]]


def merge(rows: list[Row], flips: Flips, config: PreTrainedConfig) -> list[Row]:
    """Return the rows of an architecture file."""
    merged = [dict(row) for row in rows]
    for path, (value, others) in flips.items():
        _lay_over(merged, others, path, bool(value))
    fields = {f"{prefix}{name}": plain(value) for prefix, name, value in walk(config)}
    return [one for row in merged for one in (_ruled(row, fields) if "stack" in row else [row])]


def _lay_over(rows: list[Row], others: list[Row], path: str, flipped: bool) -> None:
    """Mark what a switch removes and add what it adds."""
    known = {_key(row): row for row in rows}
    theirs = {_key(row): row for row in others}
    for key, row in known.items():
        if key not in theirs:
            if path not in row.get("when", {}) and _was_base(row):
                row.setdefault("when", {})[path] = not flipped
        elif "stack" in row:
            _lay_stack_over(row, theirs[key], path, flipped)
    for key, row in theirs.items():
        if key not in known:
            rows.append({**row, "when": {path: flipped}, "added": True})


def _was_base(row: Row) -> bool:
    return not row.get("added")


def _key(row: Row) -> str:
    if "stack" in row:
        return f"stack {row['stack']}"
    return json.dumps([row["name"], row["shape"]])


def _lay_stack_over(row: Row, other: Row, path: str, flipped: bool) -> None:
    layers = row["layers"]
    for part in [*row["parts"], *(part for part in other["parts"] if part not in row["parts"])]:
        mine = row["parts"].setdefault(part, [[] for _ in range(layers)])
        theirs = other["parts"].get(part, [[] for _ in range(other["layers"])])
        for layer in range(min(layers, other["layers"])):
            _lay_over(mine[layer], theirs[layer], path, flipped)


def _ruled(row: Row, fields: Mapping[str, object]) -> list[Row]:
    """Group a stack's layers by kind, part by part; what follows no rule is listed layer by layer."""
    parts: dict[str, list[list[Row]]] = {
        name: [[one for entry in layer for one in _inner(entry, fields)] for layer in layers]
        for name, layers in row["parts"].items()
    }
    when = {"when": row["when"]} if row.get("when") else {}
    try:
        ruled = [_by_kind(name, layers, fields, row["config"]) for name, layers in parts.items()]
    except ValueError:
        if not _LISTED.search(row["stack"]):
            raise
        return [one | when for one in _listed(row["stack"], parts)]
    return [{"stack": row["stack"], "count": row["count"], "parts": ruled} | when]


def lists_layers(rows: list[Row]) -> bool:
    """Return whether an architecture has layers that are listed one by one."""
    names = (str(row.get("name") or row["stack"]) for row in rows)
    return any(_LISTED.search(name) and re.search(r"\.\d+\.", name) for name in names)


def _inner(entry: Row, fields: Mapping[str, object]) -> list[Row]:
    return _ruled(entry, fields) if "stack" in entry else [_tidy(entry)]


def _by_kind(name: str, layers: list[list[Row]], fields: Mapping[str, object], prefix: str) -> Row:
    texts = [json.dumps(layer, sort_keys=True) for layer in layers]
    if len(set(texts)) == 1:
        return {"part": name, "cases": {"": layers[0]}}
    rule = rule_of(texts, fields, prefix)
    cases = {kind_of(rule, fields, i, len(texts)): layer for i, layer in enumerate(layers)}
    return {"part": name, "by": rule, "cases": cases}


def _listed(stack: str, parts: Mapping[str, list[list[Row]]]) -> Iterator[Row]:
    """Yield the rows of every layer of a stack, each by its own number."""
    for layers in parts.values():
        for number, layer in enumerate(layers):
            for one in layer:
                key = "stack" if "stack" in one else "name"
                yield {**one, key: f"{stack}.{number}.{one[key]}"}


def _tidy(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "added"}


def rule_of(texts: list[str], fields: Mapping[str, object], prefix: str) -> Row:
    """Return the first rule that tells the layers' kinds apart as they are."""
    if len(set(texts)) == 1:
        return {"every": 1}
    candidates = list(_candidates(fields, prefix, len(texts)))
    pairs = ({"both": list(pair)} for pair in itertools.combinations(candidates, 2))
    for rule in itertools.chain(candidates, pairs):
        seen: dict[str, str] = {}
        kinds = [kind_of(rule, fields, layer, len(texts)) for layer in range(len(texts))]
        if all(
            seen.setdefault(kind, text) == text for kind, text in zip(kinds, texts, strict=True)
        ):
            return rule
    msg = f"no rule tells the {len(set(texts))} kinds of {len(texts)} layers apart"
    raise ValueError(msg)


def _candidates(fields: Mapping[str, object], prefix: str, layers: int) -> Iterator[Row]:
    own = {name: value for name, value in fields.items() if name.startswith(prefix)}
    own = {name: value for name, value in own.items() if "." not in name.removeprefix(prefix)}
    lists = [name for name, value in own.items() if _about_layers(name, value)]
    for name in lists:
        if len(own[name]) >= layers:  # type: ignore[arg-type]  # a list or a string
            yield {"list": name}
    if layers <= _HALVES:
        yield from ({"layer": number} for number in range(layers))
    numbers = [name for name, value in own.items() if type(value) is int]
    yield from _fitting_steps(numbers)
    for name in lists:
        if not isinstance(own[name], str):
            yield {"member": name}
    for name in numbers:
        if any(word in name for word in ("first_k", "dense", "start")):
            yield {"below": name}
        if "shared" in name:
            yield {"last": name}
    yield from _steps(numbers)
    yield {"layer": 0}
    yield {"layer": -1}
    for number in range(2, 9):
        yield {"every": number, "offset": 1}
        yield {"every": number, "offset": 0}
        yield {"below": number}


def _about_layers(name: str, value: object) -> bool:
    if isinstance(value, str):
        return "pattern" in name  # a letter for each layer
    words = ("layer", "type", "pattern", "ratio", "freq", "block", "mask")
    return isinstance(value, list) and any(word in name for word in words) and "ignore" not in name


def _fitting_steps(numbers: list[str]) -> Iterator[Row]:
    for name in numbers:
        if any(word in name for word in ("moe_layer_step", "sparse_step")):
            yield {"every": name, "offset": 1}


def _steps(numbers: list[str]) -> Iterator[Row]:
    words = ("step", "period", "interval", "freq", "pattern", "every", "stride")
    steps = [name for name in numbers if any(word in name for word in words)]
    for step in steps:
        offset = step.replace("period", "offset")
        if offset in numbers and offset != step:
            yield {"every": step, "from": offset}
    for step in steps:
        yield {"every": step, "offset": 1}
        yield {"every": step, "offset": 0}
        yield {"every": step, "offset": -1}
