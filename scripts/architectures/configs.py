"""Configs whose numbers are symbols, nested ones included."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from .symbols import Ratio, Symbol

__all__ = [
    "LABELS",
    "LAYERS",
    "alternatives",
    "attribute_maps",
    "counted_labels",
    "defaults",
    "nested_types",
    "nested_values",
    "plain",
    "prefixes",
    "signature_of",
    "symbolic",
    "values_of",
    "walk",
]

# Never part of a shape; as plain values they keep generation settings out of the expressions.
_IGNORED = frozenset(
    [
        "transformers_version",
        "return_dict",
        "output_hidden_states",
        "output_attentions",
        "chunk_size_feed_forward",
        "id2label",
        "label2id",
        "problem_type",
        "architectures",
        "dtype",
        "is_encoder_decoder",
        "use_cache",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "initializer_range",
        "_name_or_path",
        "num_labels",
    ]
)
LABELS = "id2label"  # what a head can answer; its length is no setting of its own
LAYERS = 13  # as many as show every kind of layer, and a number nothing else is likely to have
_LAYER_FIELDS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")


def _fields(kind: type[PreTrainedConfig]) -> dict[str, Any]:
    parameters = inspect.signature(kind.__init__).parameters.values()
    return {
        one.name: (None if one.default is one.empty else one.default)
        for one in parameters
        if one.name not in {"self", "kwargs"} and one.name not in _IGNORED
    }


def symbolic(
    kind: type[PreTrainedConfig],
    prefix: str = "",
    *,
    layers: int | None = LAYERS,
    given: Mapping[str, Any] | None = None,
) -> PreTrainedConfig:
    """Make a config of a class with a symbol for every number.

    Args:
        kind: The config's class.
        prefix: Dotted path of this config in the whole, such as ``text_config.``.
        layers: How many layers to build at most; None leaves the default.
        given: Values by dotted name that replace the defaults.
    """
    given = given or {}
    values: dict[str, Any] = {}
    for name, nested in _nested_kinds(kind):
        absent = given.get(f"{prefix}{name}", ...) is None
        values[name] = (
            None if absent else symbolic(nested, f"{prefix}{name}.", layers=layers, given=given)
        )
    for name, default in _fields(kind).items():
        path = f"{prefix}{name}"
        value = given.get(path, default)
        if name in _LAYER_FIELDS and layers and isinstance(value, int):
            value = min(value, layers)
        if name not in values and value is not None:
            values[name] = _as_symbol(value, path)
    for path, value in given.items():
        name = path.removeprefix(prefix)
        if path.startswith(prefix) and "." not in name and name not in values:
            values[name] = _as_symbol(value, path)
    config = kind(**values)
    for name, value in list(vars(config).items()):
        if name not in _IGNORED and type(value) is int:
            setattr(config, name, Symbol(value, f"{prefix}{name}"))
    return config


def _nested_kinds(kind: type[PreTrainedConfig]) -> Iterator[tuple[str, type[PreTrainedConfig]]]:
    """Yield the classes of the configs inside one; by its defaults where any class may stand."""
    for name, nested in getattr(kind, "sub_configs", {}).items():
        chosen = type(getattr(kind(), name)) if nested is AutoConfig else nested
        if issubclass(chosen, PreTrainedConfig):
            yield name, chosen


def _as_symbol(value: Any, path: str) -> Any:
    if type(value) is float and path.endswith("multiplier"):
        return Ratio(value, path)  # the only fractions that widths are made of
    return Symbol(value, path) if type(value) is int else value


def walk(config: PreTrainedConfig, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield ``(prefix, name, value)`` of every setting, nested configs' included."""
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            yield from walk(value, f"{prefix}{name}.")
        elif name not in _IGNORED and not name.startswith("_"):
            yield prefix, name, value


def defaults(config: PreTrainedConfig) -> dict[str, Any]:
    """Return a config's plain settings by dotted name."""
    return {f"{prefix}{name}": plain(value) for prefix, name, value in walk(config)}


def plain(value: Any) -> Any:
    """Return a value without symbols."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value)


def alternatives(config: PreTrainedConfig) -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted name, other value)`` for the switches that may add or remove parameters."""
    for prefix in prefixes(config):
        for name in getattr(_at(config, prefix), "sub_configs", {}):
            if getattr(type(_at(config, prefix))(), name, None) is None:
                yield f"{prefix}{name}", None
    for prefix, name, value in walk(config):
        path = f"{prefix}{name}"
        if isinstance(value, bool):
            yield path, not value
        elif isinstance(value, int) and any(word in name for word in ("lora_rank", "shared")):
            yield path, None if "lora" in name else 0
        elif isinstance(value, int) and name == "moe_latent_size":
            yield path, None
        elif value is None and "lora_rank" in name:
            yield path, 96


def prefixes(config: PreTrainedConfig, prefix: str = "") -> Iterator[str]:
    """Yield the dotted prefix of every nested config."""
    yield prefix
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            yield from prefixes(value, f"{prefix}{name}.")


def _at(config: PreTrainedConfig, prefix: str) -> PreTrainedConfig:
    for name in prefix.split(".")[:-1]:
        config = getattr(config, name)
    return config


def signature_of(config: PreTrainedConfig, prefix: str) -> frozenset[str]:
    """Return the settings that the config at a prefix takes."""
    return frozenset(_fields(type(_at(config, prefix))))


def attribute_maps(config: PreTrainedConfig) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every nested config's other names for its settings."""
    for prefix in prefixes(config):
        yield prefix, dict(getattr(_at(config, prefix), "attribute_map", {}) or {})


def values_of(config: PreTrainedConfig, paths: Iterable[str]) -> dict[str, Any]:
    """Return a config's settings at dotted names; those it does not have are left out."""
    known = defaults(config)
    other_names = {
        f"{prefix}{alias}": f"{prefix}{name}"
        for prefix, map_ in attribute_maps(config)
        for alias, name in map_.items()
        if isinstance(name, str)
    }
    named = {path: path if path in known else other_names.get(path, path) for path in paths}
    return {path: known[name] for path, name in named.items() if name in known}


def nested_values(config: PreTrainedConfig, paths: Iterable[str]) -> dict[str, Any]:
    """Return the settings of nested configs by their own classes' defaults."""
    found: dict[str, Any] = {}
    for path in paths:
        prefix, _, name = path.rpartition(".")
        if prefix:
            values = defaults(type(_at(config, f"{prefix}."))())
            if name in values:
                found[path] = values[name]
    return found


@contextmanager
def counted_labels() -> Iterator[None]:
    """Let the number of labels be known as the length of their list."""
    plain_number = PreTrainedConfig.num_labels

    def number(config: PreTrainedConfig) -> Symbol:
        return Symbol(len(config.id2label), f"len({LABELS})")

    PreTrainedConfig.num_labels = property(number, plain_number.fset)  # type: ignore[method-assign]  # put back below
    try:
        yield
    finally:
        PreTrainedConfig.num_labels = plain_number  # type: ignore[method-assign]  # as it was


def nested_types(config: PreTrainedConfig) -> dict[str, str]:
    """Return the model types of the configs directly inside one."""
    return {
        name: str(getattr(value, "model_type", ""))
        for name, value in vars(config).items()
        if isinstance(value, PreTrainedConfig)
    }
