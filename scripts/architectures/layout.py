"""From a model built of symbols to the data that modalkit keeps: its tensors by layer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn
from transformers import PreTrainedConfig

from modalkit.sizing.expressions import fields_of

from .symbols import shape_of

_COUNTING = ("layer", "depth", "expert", "block", "group", "stage", "cycles")

__all__ = ["Row", "describe", "fields_of_rule", "fields_used", "lists_used"]

Row = dict[str, Any]

_COUNTS = [
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "depth",
    "encoder_layers",
    "decoder_layers",
    "num_encoder_layers",
    "num_decoder_layers",
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "moe_num_experts",
]


# Modules that only hold others together and tell nothing: DBRX's attention between its norms.
_WRAPPERS = {"norm_attn_norm"}
# Lists inside a layer that are always as long: T5's attentions and feed-forward, Qwen3-Omni's maps of a merger.
_HALVES = {"layer", "mlp"}
_EXPERT_ROWS = re.compile(r"\(([\w.]*num_experts) \* ([\w.]+)\)")


class _Reader:
    """Reads one model.

    Args:
        configs: Every nested config with its dotted prefix.
    """

    def __init__(self, model: nn.Module, configs: dict[int, str]) -> None:
        self._configs = configs
        self._seen: set[int] = set()
        self._model = model

    def read(self) -> list[Row]:
        return self._rows(self._model, "", self._model.config, "")

    def _rows(self, module: nn.Module, name: str, config: Any, prefix: str) -> list[Row]:
        own = getattr(module, "config", None)
        if isinstance(own, PreTrainedConfig) and id(own) in self._configs:
            config, prefix = own, self._configs[id(own)]
        rows: list[Row] = []
        for key, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in self._seen:
                self._seen.add(id(parameter))
                shape = _by_expert(f"{name}{key}", shape_of(parameter, module))
                rows.append({"name": f"{name}{key}", "shape": shape})
        for key, child in module.named_children():
            if _is_stack(child):
                rows += self._stack(child, f"{name}{key}", config, prefix)
            else:
                inside = name if key in _WRAPPERS else f"{name}{key}."
                rows += self._rows(child, inside, config, prefix)
        return rows

    def _stack(self, stack: nn.Module, name: str, config: Any, prefix: str) -> list[Row]:
        """Describe a list of layers by its parts; parts that differ keep their layer's number."""
        layers: list[dict[str, list[Row]]] = []
        for layer in _layers(stack):
            parts: dict[str, list[Row]] = {}
            for row in self._rows(layer, "", config, prefix):
                label = row.get("name") or row["stack"]
                parts.setdefault(label.partition(".")[0], []).append(row)
            layers.append(parts)
        if not any(layers):
            return []
        names = list(dict.fromkeys(part for layer in layers for part in layer))
        return [
            {
                "stack": name,
                "config": prefix,
                "count": _count(len(layers), config, prefix, name),
                "layers": len(layers),
                "parts": {part: [layer.get(part, []) for layer in layers] for part in names},
            }
        ]


def _is_stack(module: nn.Module) -> bool:
    """Whether a module is a list of layers, or experts kept by name (``expert_0``, ``expert_1``)."""
    if isinstance(module, nn.ModuleList):
        return not any(True for _ in module.named_parameters(recurse=False))  # no parametrization
    return isinstance(module, nn.ModuleDict) and bool(_layers(module))


def _layers(stack: nn.Module) -> list[nn.Module]:
    if isinstance(stack, nn.ModuleList):
        return list(stack)
    named = stack.named_children()
    return [child for name, child in named if re.fullmatch(r"\w+_\d+", name)]


def _by_expert(name: str, shape: list[str]) -> list[str]:
    """Take apart the rows of experts that lie one below the other (DBRX)."""
    found = _EXPERT_ROWS.fullmatch(shape[0]) if ".experts." in name and shape else None
    return [found[1], found[2], *shape[1:]] if found else shape


def _count(length: int, config: Any, prefix: str, stack: str) -> str:
    """Return the field that says how long a stack is; the one whose name fits the stack best."""
    if stack in _HALVES or stack.endswith(".mlp"):
        return str(length)
    fields = [
        name
        for name, value in vars(config).items()
        if type(value) is not bool and isinstance(value, int) and value == length
    ]
    counts = [name for name in fields if any(word in name for word in _COUNTING)]
    counts.sort(key=lambda name: (-_likeness(name, stack), _place(name)))
    lists = [
        name for name, value in vars(config).items() if _is_list(value) and len(value) == length
    ]
    heads = [name for name in fields if "head" in name]
    if counts:
        return f"{prefix}{counts[0]}"
    if lists and not heads:
        return f"len({prefix}{lists[0]})"
    if heads:
        return f"{prefix}{heads[0]}"
    others = [name for name, value in vars(config).items() if _is_one_more(name, value, length)]
    return f"({prefix}{others[0]} - 1)" if others else str(length)


def _is_one_more(name: str, value: object, length: int) -> bool:
    """Whether a stack has all of some groups but the first, as a talker's code predictor does."""
    counted = type(value) is not bool and isinstance(value, int) and "group" in name
    return counted and value == length + 1


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _likeness(field: str, stack: str) -> int:
    sides = ("encoder", "decoder", "expert", "group")
    return sum(
        (side in field and side in stack) - (side in field and side not in stack) for side in sides
    )


def _place(field: str) -> int:
    return _COUNTS.index(field) if field in _COUNTS else len(_COUNTS)


def describe(model: nn.Module, config: PreTrainedConfig) -> list[Row]:
    """Return a model's tensors: rows of single tensors and of stacks of layers."""
    configs = dict(_prefixes(config, ""))
    return _Reader(model, configs).read()


def _prefixes(config: PreTrainedConfig, prefix: str) -> Iterator[tuple[int, str]]:
    yield id(config), prefix
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            yield from _prefixes(value, f"{prefix}{name}.")


def fields_used(rows: list[Row]) -> Iterator[str]:
    """Yield the fields that an architecture file's rows read."""
    for row in rows:
        yield from row.get("when", {})
        for size in [*row.get("shape", ()), *([row["count"]] if "count" in row else [])]:
            yield from fields_of(size)
        for part in row.get("parts", ()):
            yield from fields_of_rule(part.get("by", {}))
            for case in part["cases"].values():
                yield from fields_used(case)


def lists_used(rows: list[Row]) -> set[str]:
    """Return the lists that say of every layer which kind it is."""
    rules = [part.get("by", {}) for row in rows for part in row.get("parts", ())]
    flat = [one for rule in rules for one in (rule, *rule.get("both", ()))]
    return {rule["list"] for rule in flat if "list" in rule}


def fields_of_rule(rule: Row) -> Iterator[str]:
    """Yield the fields that a rule reads."""
    for key in ("list", "member", "below", "last", "every", "from"):
        if isinstance(rule.get(key), str):
            yield rule[key]
    for one in rule.get("both", ()):
        yield from fields_of_rule(one)
