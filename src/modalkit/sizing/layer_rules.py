"""Which kind a layer is: a rule of an architecture file, applied to a config.

An architecture lists the parameters of each kind of layer and one rule that says, for layer ``i`` of
``n``, which kind it is. A rule is data:

    {"list": "layer_types"}                 the list's entry, or the string's letter, for that layer
    {"member": "mlp_only_layers"}           whether the layer's number is in the list
    {"below": "first_k_dense_replace"}      whether i < F
    {"last": "num_kv_shared_layers"}        whether i >= n - F
    {"every": "decoder_sparse_step", "offset": 1}    whether (i + offset) % F == 0
    {"every": "attn_layer_period", "from": "attn_layer_offset"}    whether (i - G) % F == 0
    {"layer": 0}                            whether it is that layer; negative counts from the end
    {"every": 6, "offset": 1}               the same with numbers of the architecture's own
    {"both": [rule, rule]}                  the two answers together
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import SizingError
from .by_hand import BY_HAND

__all__ = ["Rule", "kind_of"]

Rule = Mapping[str, Any]
Fields = Mapping[str, object]


def kind_of(rule: Rule, fields: Fields, layer: int, layers: int) -> str:
    """Return the kind of a layer by a rule.

    Raises:
        SizingError: The config lacks what the rule reads.
    """
    for name, apply in _RULES.items():
        if name in rule:
            return str(apply(rule, fields, layer, layers))
    msg = f"The layer rule {dict(rule)!r} is not one this version knows. {BY_HAND}"
    raise SizingError(msg)


def _listed(rule: Rule, fields: Fields, layer: int, _layers: int) -> object:
    entries = fields.get(rule["list"])
    if isinstance(entries, list | tuple | str) and layer < len(entries):
        return entries[layer]
    msg = f"The config's {rule['list']!r} must name every layer's kind; it has none for layer {layer}. {BY_HAND}"
    raise SizingError(msg)


def _member(rule: Rule, fields: Fields, layer: int, _layers: int) -> bool:
    entries = fields.get(rule["member"])
    return isinstance(entries, list | tuple) and layer in entries


def _below(rule: Rule, fields: Fields, layer: int, _layers: int) -> bool:
    return layer < _whole(fields, rule["below"])


def _last(rule: Rule, fields: Fields, layer: int, layers: int) -> bool:
    return layer >= layers - _whole(fields, rule["last"])


def _every(rule: Rule, fields: Fields, layer: int, _layers: int) -> bool:
    step = _whole(fields, rule["every"])
    start = _whole(fields, rule["from"]) if "from" in rule else -int(rule.get("offset", 0))
    return step > 0 and (layer - start) % step == 0


def _layer(rule: Rule, _fields: Fields, layer: int, layers: int) -> bool:
    return layer == int(rule["layer"]) % layers


def _both(rule: Rule, fields: Fields, layer: int, layers: int) -> str:
    return " ".join(kind_of(one, fields, layer, layers) for one in rule["both"])


_RULES: dict[str, Callable[[Rule, Fields, int, int], object]] = {
    "list": _listed,
    "member": _member,
    "below": _below,
    "last": _last,
    "every": _every,
    "layer": _layer,
    "both": _both,
}


def _whole(fields: Fields, name: str | int) -> int:
    """Return a field's number; a rule may also name the number itself."""
    value = fields.get(name) if isinstance(name, str) else name
    return value if isinstance(value, int) else 0
