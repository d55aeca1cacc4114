"""Write ``data/architectures/*.json`` from transformers' model classes.

    python scripts/refresh_architectures.py [MODEL_TYPE ...]

Each model class is built on torch's meta device from a config of symbols, so every parameter's shape
is known as arithmetic over config fields. Switches (``attention_bias``) are flipped one by one to
see which parameters they add or remove. The result is then evaluated, by modalkit's own code, at
sizes other than the ones it was read from and compared with the real class; an architecture that
differs anywhere is not written. Settings that only change parts whose layers follow no rule (the
convolutions of a codec) are pinned: a config with others is refused. Takes a few minutes; needs torch
and transformers, no weights; towers of timm (``gemma3n``) need timm, torchvision and pillow too.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers
from architectures.configs import (
    LABELS,
    LAYERS,
    alternatives,
    attribute_maps,
    counted_labels,
    defaults,
    nested_types,
    nested_values,
    plain,
    prefixes,
    signature_of,
    symbolic,
    values_of,
    walk,
)
from architectures.given import CACHE_FIELDS, CLASSES, DERIVED, ENCODERS, FIXED, HINTS, IMPLIED
from architectures.layout import Row, describe, fields_of_rule, fields_used, lists_used
from architectures.merge import lists_layers, merge, rule_of
from architectures.pins import pinned
from architectures.published import as_published
from architectures.symbols import Symbol, tracing, whole
from architectures.verify import differences
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from modalkit.sizing.expressions import fields_of
from modalkit.sizing.layer_rules import kind_of

_LOG = logging.getLogger("architectures")
FOLDER = Path(__file__).resolve().parent.parent / "src" / "modalkit" / "data" / "architectures"
TABLES = (
    modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES,
)


def model_class(model_type: str) -> type[transformers.PreTrainedModel]:
    """Return the class that generates text, else the encoder, with its head where it is published with one.

    What has an encoder and a decoder is published as both together, though it has a decoder-only class.
    """
    if model_type in CLASSES:
        return getattr(transformers, CLASSES[model_type])  # type: ignore[no-any-return]
    both = CONFIG_MAPPING[model_type].is_encoder_decoder
    for table in (*(reversed(TABLES) if both else TABLES), modeling_auto.MODEL_MAPPING_NAMES):
        if model_type in table and model_type not in ENCODERS:
            return getattr(transformers, table[model_type])  # type: ignore[no-any-return]
    name = modeling_auto.MODEL_MAPPING_NAMES[model_type]
    return getattr(transformers, name if isinstance(name, str) else name[0])  # type: ignore[no-any-return]


def build(model_type: str, given: dict[str, Any], layers: int | None) -> tuple[Any, list[Row]]:
    """Return a symbolic config and the rows of the model made of it."""
    kind, model = CONFIG_MAPPING[model_type], model_class(model_type)
    for module in {sys.modules[kind.__module__], sys.modules[model.__module__]}:
        module.int = whole  # type: ignore[attr-defined]  # keeps expressions through int()
    config = symbolic(kind, given=given, layers=layers)
    with tracing(), counted_labels(), torch.device("meta"):
        made = model(config)
    return config, describe(made, config)


def extract(model_type: str) -> dict[str, Any]:
    """Return an architecture's file."""
    given, layers = explicit_fields(model_type)
    config, rows = build(model_type, given, layers)
    flipped: dict[str, tuple[object, list[Row]]] = {}
    for path, value in alternatives(config):
        try:
            flipped[path] = (value, build(model_type, {**given, path: value}, layers)[1])
        except Exception as error:  # noqa: BLE001 - many combinations of switches are impossible
            _LOG.debug("%s %s=%r: %s", model_type, path, value, error)
    file: dict[str, Any] = {
        "model_type": model_type,
        "source": f"transformers {transformers.__version__} {model_class(model_type).__name__}",
        "read_on": f"{datetime.now(UTC):%Y-%m-%d}",
        "rows": merge(rows, flipped, config),
        **({"encoder": True} if model_type in ENCODERS else {}),
    }
    return {**file, **settings(model_type, file["rows"], layers)}


def settings(model_type: str, rows: list[Row], layers: int | None) -> dict[str, Any]:
    """Return the defaults, derived fields, aliases and lists that an architecture's rows read."""
    config, _ = build(model_type, HINTS.get(model_type, {}), layers)
    plain_config = CONFIG_MAPPING[model_type]()
    symbols = {f"{prefix}{name}": value for prefix, name, value in walk(config)}
    lists = {
        path: list_rule(path, plain_config, symbols)
        for path in sorted(wanted_lists(rows, plain_config, symbols))
    }
    used = set(fields_used(rows)) | {
        name for rule in lists.values() for name in fields_of_rule(rule.get("by", {}))
    }
    derived = {
        path: value.expression
        for path, value in symbols.items()
        if isinstance(value, Symbol) and value.expression != path and path in used
    }
    for path in used:
        if path.rpartition(".")[2] == "head_dim" and (
            symbols.get(path) is None or follows_width(CONFIG_MAPPING[model_type], path)
        ):
            prefix = path.removesuffix("head_dim")
            derived[path] = f"({prefix}hidden_size // {prefix}num_attention_heads)"
    derived |= DERIVED.get(model_type, {})
    for expression in list(derived.values()):
        used |= set(fields_of(expression))
    used |= {path for path in symbols if path.rpartition(".")[2] in CACHE_FIELDS}
    hints = {path: value for path, value in HINTS.get(model_type, {}).items() if path in used}
    values = {**hints, **nested_values(config, used), **values_of(plain_config, used)}
    values |= IMPLIED.get(model_type, {})
    if LABELS in used:
        values[LABELS] = plain(plain_config.id2label)
    return {
        "aliases": {
            prefix: {alias: name for alias, name in map_.items() if isinstance(name, str)}
            for prefix, map_ in attribute_maps(config)
            if map_
        },
        "defaults": {
            path: values[path]
            for path in sorted(values)
            if path not in derived and path not in lists
        },
        "derived": dict(sorted(derived.items())),
        "lists": lists,
        "nested": nested_types(config),
    }


def follows_width(kind: type[Any], path: str) -> bool:
    """Whether a class works a head's width out of the model's where a config leaves it out."""
    plain = kind()
    width = getattr(plain, "hidden_size", None)
    if path != "head_dim" or not isinstance(width, int):
        return False
    return getattr(kind(hidden_size=2 * width), path, None) == 2 * plain.head_dim


def wanted_lists(rows: list[Row], config: Any, symbols: dict[str, Any]) -> set[str]:
    """Return the lists of layers' kinds that the rows, or the KV cache, depend on."""
    read = lists_used(rows)
    values = values_of(config, read)
    named = {
        path for path in symbols if path.endswith("layer_types") and not path.startswith("vision")
    }
    return named | {path for path in read if isinstance(values.get(path), list | str | None)}


def explicit_fields(model_type: str) -> tuple[dict[str, Any], int | None]:
    """Return the fields that are derived when a config leaves them out, with their values.

    Given explicitly they show up in the expressions by their own name.
    """
    hints: dict[str, Any] = HINTS.get(model_type, {})
    config, rows, layers = first_build(model_type, hints)
    derived = {
        f"{prefix}{name}": int(value)
        for prefix, name, value in walk(config)
        if isinstance(value, Symbol)
        and value.expression != f"{prefix}{name}"
        and name in signature_of(config, prefix)
    }
    given = tolerated(model_type, hints, derived, layers)
    text = json.dumps(rows)
    for prefix in prefixes(config):
        if f"({prefix}hidden_size // {prefix}num_attention_heads)" in text:
            values = defaults(config)
            size = values[f"{prefix}hidden_size"] // values[f"{prefix}num_attention_heads"]
            given = tolerated(model_type, given, {f"{prefix}head_dim": size}, layers)
    return given, layers


def list_rule(path: str, config: Any, symbols: dict[str, Any]) -> dict[str, Any]:
    """Return how an architecture fills in a list that a config leaves out; empty if nothing fits."""
    prefix = path.rpartition(".")[0]
    dotted = f"{prefix}." if prefix else ""
    values = values_of(config, [path]).get(path)
    counts = [
        f"{dotted}{name}"
        for name in ("num_hidden_layers", "n_layer", "num_layers")
        if f"{dotted}{name}" in symbols
    ]
    if (
        not isinstance(values, list)
        or not counts
        or not all(isinstance(one, str) for one in values)
    ):
        return {}
    fields = defaults(config)
    texts = [str(one) for one in values]
    try:
        rule = rule_of(
            texts,
            {
                name: value
                for name, value in fields.items()
                if name != path and not isinstance(value, list | str)
            },
            dotted,
        )
    except ValueError:
        return {}
    kinds = {kind_of(rule, fields, layer, len(texts)): text for layer, text in enumerate(texts)}
    return {"count": counts[0].removeprefix(dotted), "by": rule, "values": kinds}


def first_build(model_type: str, hints: dict[str, Any]) -> tuple[Any, list[Row], int | None]:
    """Build with few layers; some classes want as many as their lists have."""
    for layers in (LAYERS, None):
        try:
            config, rows = build(model_type, hints, layers)
            merge(rows, {}, config)
        except Exception as error:  # noqa: BLE001 - the last one is raised below
            failure = error
            continue
        return config, rows, layers
    raise failure


def tolerated(
    model_type: str, given: dict[str, Any], more: dict[str, Any], layers: int | None
) -> dict[str, Any]:
    """Add the fields that the class takes explicitly."""
    for path, value in more.items():
        try:
            build(model_type, {**given, path: value}, layers)
        except Exception:  # noqa: BLE001 - a class that works it out itself
            continue
        given = {**given, path: value}
    return given


def verified(model_type: str) -> tuple[dict[str, Any], list[str]]:
    """Return an architecture's file and where it differs from its class; what it cannot follow is pinned."""
    file, model = extract(model_type), model_class(model_type)
    given, fixed = HINTS.get(model_type, {}), FIXED.get(model_type, [])
    wrong = differences(file, model, given, fixed)
    if wrong and wrong[0].startswith(f"full {given}:"):
        return file, wrong  # its defaults already differ
    off = any(not one.startswith("sparse") for one in wrong)
    numbers = off or lists_layers(file["rows"])
    if held := pinned(file, model, given, wrong, numbers=numbers):
        file["pinned"] = held
        wrong = differences(file, model, given, [*fixed, *held])
    return file, wrong


def main() -> None:
    """Write the files of the model types named, or of all."""
    warnings.filterwarnings("ignore")
    logging.getLogger("transformers").disabled = True
    transformers.logging.set_verbosity_error()
    wanted = sys.argv[1:] or sorted({*ENCODERS, *(name for table in TABLES for name in table)})
    FOLDER.mkdir(exist_ok=True)
    failed: dict[str, str] = {}
    for model_type in wanted:
        try:
            file, wrong = verified(model_type)
        except Exception as error:  # noqa: BLE001 - one class must not stop the others
            _LOG.debug("%s", traceback.format_exc())
            file, wrong = {}, [f"{type(error).__name__}: {error}"]
        if wrong:
            print(f"{model_type}: {wrong[0][:400]}", flush=True)
        if any(not one.startswith("sparse") for one in wrong):
            failed[model_type] = wrong[0]
            continue
        path = FOLDER / f"{model_type}.json"
        text = json.dumps(as_published(file), separators=(",", ":"), sort_keys=True)
        path.write_text(f"{text}\n", "utf-8")
    print(f"{len(wanted) - len(failed)} of {len(wanted)} written to {FOLDER}")


if __name__ == "__main__":
    main()
