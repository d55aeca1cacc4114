"""The kind of every layer, where a config says it in one of the older ways.

Newer configs list it (``layer_types``, ``mlp_layer_types``). Older ones give a period, a pattern of
letters or the numbers of some layers; transformers turns those into the list when it loads the config,
and so does this module. Source of each rule: the ``__post_init__`` of the config class it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..errors import SizingError
from .by_hand import BY_HAND
from .layer_rules import kind_of

__all__ = ["derived_list"]

Fields = Mapping[str, object]
Kinds = list[str]
_Sign = TypeVar("_Sign", str, int)

_LETTERS = {
    "M": "linear_attention",
    "*": "full_attention",
    "-": "mlp",
    "E": "moe",
}  # NemotronHConfig
_OLD_NAMES = {  # transformers' remap_legacy_layer_types
    "mamba": "linear_attention",
    "attention": "full_attention",
    "deepseek_sparse_attention": "indexed_attention",
    "qwen_sparse_attention": "indexed_attention",
}
_COMPRESSION = {  # DeepseekV4Config
    0: "sliding_attention",
    4: "compressed_sparse_attention",
    128: "heavily_compressed_attention",
}


def derived_list(name: str, rule: dict[str, Any], given: Fields, fields: Fields) -> Kinds | None:
    """Return the kind of every layer, or None where the config does not say.

    Args:
        name: The list's dotted name, such as ``text_config.layer_types``.
        rule: The architecture's own default: ``{"count": field, "by": rule, "values": {...}}``.
        given: What the config file says, flattened.
        fields: The same with defaults filled in.
    """
    if isinstance(listed := given.get(name), list):
        return [_OLD_NAMES.get(str(kind), str(kind)) for kind in listed]
    prefix, _, last = name.rpartition(".")
    path = f"{prefix}." if prefix else ""
    count = fields.get(f"{path}{rule['count']}" if rule else f"{path}num_hidden_layers")
    layers = count if isinstance(count, int) else 0
    for older, read in _OLDER.get(last, {}).items():
        value = given.get(f"{path}{older}")
        if value is not None and (kinds := read(value, layers)) is not None:
            return kinds
    if not rule:
        return None
    return [rule["values"][kind_of(rule["by"], fields, i, layers)] for i in range(layers)]


def _known(kinds: Mapping[_Sign, str], sign: _Sign) -> str:
    """The kind of layer that a config's letter or number stands for."""
    if sign not in kinds:
        signs = ", ".join(map(repr, kinds))
        msg = f"The config has layers of a kind {sign!r}; this version knows {signs}. {BY_HAND}"
        raise SizingError(msg)
    return kinds[sign]


def _every(step: object, layers: int, *, at: str, between: str) -> Kinds | None:
    if not isinstance(step, int) or step < 1:
        return None
    return [between if (i + 1) % step else at for i in range(layers)]


def _interval(step: object, layers: int) -> Kinds | None:
    """Qwen3NextConfig, Qwen3_5TextConfig: full attention every ``full_attention_interval`` layers."""
    return _every(step, layers, at="full_attention", between="linear_attention")


def _window_pattern(pattern: object, layers: int) -> Kinds | None:
    """Gemma3TextConfig, Cohere2Config: a period; Exaone4Config also letters such as ``"LLLG"``."""
    if isinstance(pattern, str) and pattern:
        kinds = {"L": "sliding_attention", "G": "full_attention"}
        return [_known(kinds, pattern[i % len(pattern)]) for i in range(layers)]
    return _every(pattern, layers, at="full_attention", between="sliding_attention")


def _letters(pattern: object, _layers: int) -> Kinds | None:
    if not isinstance(pattern, str):
        return None
    return [_known(_LETTERS, letter) for letter in pattern]


def _renamed(kinds: object, _layers: int) -> Kinds | None:
    if not isinstance(kinds, list):
        return None
    return [_OLD_NAMES.get(str(kind), str(kind)) for kind in kinds]


def _choice(yes: str, no: str) -> Callable[[object, int], Kinds | None]:
    def read(flags: object, layers: int) -> Kinds | None:
        if not isinstance(flags, list):
            return None
        return [yes if flag else no for flag in flags[:layers]]

    return read


def _kimi_linear(settings: object, layers: int) -> Kinds | None:
    """KimiLinearConfig: the numbers of the layers with full attention, counted from 1."""
    if not isinstance(settings, dict) or "full_attn_layers" not in settings:
        return None
    full = set(settings["full_attn_layers"])
    return ["full_attention" if i + 1 in full else "linear_attention" for i in range(layers)]


def _attention_among(others: str) -> Callable[[object, int], Kinds | None]:
    def read(numbers: object, layers: int) -> Kinds | None:
        if not isinstance(numbers, list):
            return None
        return ["full_attention" if i in numbers else others for i in range(layers)]

    return read


def _compressed(ratios: object, layers: int) -> Kinds | None:
    if not isinstance(ratios, list):
        return None
    return [_known(_COMPRESSION, ratio) for ratio in ratios[:layers]]


def _dense_first(first: object, layers: int) -> Kinds | None:
    if not isinstance(first, int) or isinstance(first, bool):
        return None
    return ["dense" if i < first else "sparse" for i in range(layers)]


def _listed_sparse(numbers: object, layers: int) -> Kinds | None:
    """Step3p7Config: the numbers of the layers with experts, as text."""
    items = numbers.split(",") if isinstance(numbers, str) else numbers
    if not isinstance(items, list):
        return None
    sparse = {int(item) for item in items if str(item).strip()}
    return ["sparse" if i in sparse else "dense" for i in range(layers)]


_Reader = Callable[[object, int], Kinds | None]
_LAYER_TYPES: dict[str, _Reader] = {
    "hybrid_override_pattern": _letters,
    "layers_block_type": _renamed,
    "full_attention_interval": _interval,
    "linear_attn_config": _kimi_linear,
    "full_attn_idxs": _attention_among("conv"),  # Lfm2Config
    "attn_layer_indices": _attention_among("linear_attention"),  # BambaConfig
    "compress_ratios": _compressed,
    "hybrid_layer_pattern": _choice("sliding_attention", "full_attention"),  # MiMoV2FlashConfig
    "no_rope_layers": _choice("chunked_attention", "full_attention"),  # Llama4TextConfig
    "sliding_window_pattern": _window_pattern,
    "_sliding_window_pattern": _window_pattern,
}
_OLDER: dict[str, dict[str, _Reader]] = {
    "layer_types": _LAYER_TYPES,
    "layers_block_type": _LAYER_TYPES,
    "mlp_layer_types": {
        "moe_layers_enum": _listed_sparse,
        "moe_layer_freq": _choice("sparse", "dense"),
        "first_k_dense_replace": _dense_first,
    },
}
