"""A model's size, from its ``config.json`` alone: parameters, bytes, what its cache keeps.

Everything else in this package works on the `ModelFacts` made here; a model whose architecture is not
known can be stated by hand with the same class.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModalkitError, SizingError
from .by_hand import BY_HAND
from .cache import cache_layers
from .cache_layer import CacheLayer, Keeps
from .composed import held_prefix, layout_of
from .configs import Config, Settings
from .context import names_context, own_context
from .dtypes import dtype_of
from .expressions import evaluate
from .facts import GIB, ModelFacts
from .formats import Quantization, quantization_of
from .layouts import Parameter, TextStack, parameters, text_stack
from .mistral_format import PARAMS, as_config
from .parts import Division, Kind, Place, WeightPart
from .remote_code import as_known
from .stored import Stored, stored_in
from .tally import Tally

__all__ = ["GIB", "ModelFacts", "figures_of", "model_facts", "read_model"]

_HEADERS = 0.001  # what the headers and metadata of files take beside their tensors
_SURPLUS = 0.005  # what files may hold beyond the config before it is taken to be loaded too
# What SGLang takes a vision tower to be whose config does not say.
_USUAL_VISION = {"num_hidden_layers": 24, "hidden_size": 1024}


def read_model(folder: str | Path) -> ModelFacts:
    """Size the model in a folder; a ``config.json``, or Mistral's ``params.json``, is enough.

    Args:
        folder: A folder, or the path of a config file.

    Raises:
        SizingError: No config there, an architecture this version does not know.
    """
    path = Path(folder)
    config = _config_in(path) if path.is_dir() else path
    if config is None or not config.is_file():
        msg = (
            f"There is no config.json in {str(folder)!r}; name a model's folder or its config file."
        )
        raise SizingError(msg)
    described = config.with_name("hf_quant_config.json")
    parsed = _parsed(config)
    return model_facts(
        as_config(parsed) if config.name == PARAMS else parsed,
        name=path.resolve().name if path.is_dir() else path.name,
        described=_parsed(described) if described.is_file() else None,
        stored=stored_in(path) if path.is_dir() else 0,
    )


def _config_in(folder: Path) -> Path | None:
    """The config of a folder: transformers' own, else Mistral's."""
    files = (folder / name for name in ("config.json", PARAMS))
    return next((file for file in files if file.is_file()), None)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{str(path)!r} must be a JSON file: {error}."
        raise SizingError(msg) from error
    if not isinstance(loaded, dict):
        msg = f"{str(path)!r} must hold a JSON object, got {type(loaded).__name__}."
        raise SizingError(msg)
    return loaded


@dataclass(frozen=True, slots=True)
class _Read:
    """A config as its architecture reads it.

    Attributes:
        raw: The config, as the class of a known architecture would have it.
        config: With what it leaves out filled in.
        found: Every parameter.
        stack: Where the text model is; None for an encoder.
        settings: Those of the text model.
        quantization: What the checkpoint's quantisation covers.
    """

    raw: dict[str, Any]
    config: Config
    found: Sequence[Parameter]
    stack: TextStack | None
    settings: Settings
    quantization: Quantization | None


def model_facts(
    raw: Mapping[str, object],
    *,
    name: str = "the model",
    described: Mapping[str, object] | None = None,
    stored: int | Stored = 0,
) -> ModelFacts:
    """Size a model from its parsed ``config.json``.

    Args:
        raw: The config, as parsed.
        name: What to call it in messages.
        described: A parsed ``hf_quant_config.json``, if the repository has one.
        stored: What the weight files hold, or only its bytes, where that is known. What they hold beyond
            what the config says is counted as loaded too.

    Raises:
        SizingError: An architecture, layer kind or quantisation this version does not know, or a value that its
            architecture cannot read.
    """
    files = stored if isinstance(stored, Stored) else Stored(stored)
    try:
        return _sized(raw, name, described, files)
    except ModalkitError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        # What a class of the config would fail on, in the config's own words.
        msg = (
            f"The config of this {raw.get('model_type')!r} says something in another way than its architecture "
            f"reads it ({type(error).__name__}: {error}). Correct it, or state the model by hand. {BY_HAND}"
        )
        raise SizingError(msg) from error


def _sized(
    raw: Mapping[str, object], name: str, described: Mapping[str, object] | None, files: Stored
) -> ModelFacts:
    read, tally, counted = _counted(raw, described, files)
    parts = _parts(tally, _as_configured(read, tally, files))
    return ModelFacts(
        name=name,
        model_type=read.config.model_type,
        dtype=dtype_of(read.raw),
        quantization=read.quantization.format.name if read.quantization else None,
        stored_bytes=files.bytes,
        stored_parameters=counted,
        vision=_vision(read, parts),
        **figures_of(parts),
        **_of_tally(tally, counted),
        **_of_cache(read),
        **_of_config(read),
    )


def _read(raw: Mapping[str, object], described: Mapping[str, object] | None) -> _Read:
    parsed = as_known(dict(raw))
    layout = layout_of(parsed)
    config = Config.read(parsed, layout)
    stack = text_stack(layout)
    settings = Settings(config.fields, stack.prefix if stack else held_prefix(layout))
    found = list(parameters(layout, config.fields))
    quantization = quantization_of(parsed, dict(described) if described else None)
    return _Read(parsed, config, found, stack, settings, quantization)


def _tallied(read: _Read) -> Tally:
    stack = read.stack.path if read.stack else ""
    tally = Tally(read.settings, read.quantization, dtype_of(read.raw), stack)
    for one in read.found:
        tally.add(one)
    return tally


def _counted(
    raw: Mapping[str, object], described: Mapping[str, object] | None, files: Stored
) -> tuple[_Read, Tally, int]:
    """Count by the config, and by the files' headers (0 where nobody has read them).

    Files that lack exactly the output head tell that it is the embedding, or that there is none as in
    an embedding model, whatever the config says.
    """
    read = _read(raw, described)
    tally = _tallied(read)
    counted = _by_headers(read, tally, files)
    if not tally.head_parameters or not (files.bytes or counted):
        return read, tally, counted
    tied = _read({**raw, "tie_word_embeddings": True}, described)
    other = _tallied(tied)
    if _holds_exactly(files, counted, other) and not _holds_exactly(files, counted, tally):
        return tied, other, counted
    return read, tally, counted


def _holds_exactly(files: Stored, counted: int, tally: Tally) -> bool:
    """Whether files are what a config says: to the parameter by their headers, else about in bytes."""
    if counted:
        return counted == tally.total
    said = tally.stored + tally.prediction_bytes()
    return abs(files.bytes - said) <= _HEADERS * said


def _total(tally: Tally, counted: int) -> int:
    """The parameters of the config, or those of the files where they are others."""
    differs = counted and abs(counted - tally.total) > _SURPLUS * tally.total
    return counted if differs else tally.total


def _by_headers(read: _Read, tally: Tally, files: Stored) -> int:
    return files.parameters(layers=_layers(read), tied=not tally.head_parameters)


def _as_configured(read: _Read, tally: Tally, files: Stored) -> float:
    """The bytes of the files' tensors in the config's number format: wider ones are no more weights."""
    held = sum((files.counts or {}).values())
    if not held or read.quantization is not None:
        return files.bytes
    return held * tally.stored / tally.total


def _parts(tally: Tally, stored: float) -> tuple[WeightPart, ...]:
    """The weights by kind, with what the files hold beyond what the config says."""
    parts = tally.parts()
    surplus = stored - tally.stored - tally.prediction_bytes()
    if surplus <= _SURPLUS * tally.stored:
        return parts
    loaded = sum(part.bytes for part in parts)
    size = round(surplus * loaded / tally.stored)
    beyond = WeightPart(Kind.UNEXPLAINED, Division.TENSOR, Place.EVENLY, 0, size, "")
    return (*parts, beyond)


def figures_of(parts: Sequence[WeightPart]) -> dict[str, Any]:
    """The fields of `ModelFacts` that add up parts."""

    def held(chosen: Iterable[WeightPart]) -> int:
        return sum(part.bytes for part in chosen)

    return {
        "parts": parts,
        "loaded_bytes": held(parts),
        "expert_bytes": held(part for part in parts if part.division is Division.EXPERTS),
        "replicated_bytes": held(part for part in parts if part.division is Division.WHOLE),
        "key_value_bytes": held(part for part in parts if part.division is Division.HEADS),
        "embedding_bytes": held(
            part for part in parts if part.kind in {Kind.EMBEDDINGS, Kind.HEAD}
        ),
    }


def _of_tally(tally: Tally, counted: int) -> dict[str, Any]:
    """The fields of `ModelFacts` that the config's parameters add up to, or the files' where they differ."""
    total = _total(tally, counted)
    return {
        "total_parameters": total,
        "active_parameters": max(1, min(total, round(tally.active) + total - tally.total)),
        "weight_bytes": round(tally.stored),
        "extra_stored_bytes": tally.prediction_bytes(),
        "lora_width": tally.lora_width,
        "block_sizes": tuple(sorted(tally.widths)),
        "expert_block_sizes": tuple(sorted(tally.expert_widths)),
        "experts": tally.expert_count,
    }


def _of_cache(read: _Read) -> dict[str, Any]:
    """The fields of `ModelFacts` that say what is kept of tokens."""
    stack = read.stack
    found = cache_layers(read.config, read.found, stack.path, stack.prefix) if stack else []
    cache: tuple[CacheLayer, ...] = tuple(layer for _, layer in found)
    at = tuple(number for number, _ in found)
    kept = [layer.heads for layer in cache if layer.keeps is not Keeps.NOTHING]
    return {
        "cache": cache,
        "cache_at": () if at == tuple(range(len(at))) else at,
        "kv_heads": min(kept, default=1),
    }


def _of_config(read: _Read) -> dict[str, Any]:
    """The fields of `ModelFacts` that the config states itself."""
    number = read.settings.number
    return {
        "attention_heads": _heads(read.settings),
        "max_context": own_context(read.settings, read.config.model_type),
        "context_is_default": not names_context(read.config.raw, read.settings.prefix),
        "hidden_size": number("hidden_size", "d_model", "n_embd"),
        "vocab_size": number("vocab_size"),
        "layers": _layers(read),
    }


def _layers(read: _Read) -> int:
    if read.stack is None:
        return read.settings.number("num_hidden_layers")
    return evaluate(read.stack.count, read.config.fields)


def _heads(settings: Settings) -> int:
    """Return the attention heads; where layers differ, the most that divides all of them."""
    listed = settings.get("num_attention_heads")
    if isinstance(listed, list):
        return math.gcd(*listed)
    return settings.number("num_attention_heads") or 1


def _vision(read: _Read, parts: Sequence[WeightPart]) -> tuple[int, int] | None:
    """Layers and width of the vision tower as SGLang reads them off the config."""
    if not any(part.kind is Kind.VISION for part in parts):
        return None
    tower = Settings(read.config.fields, "vision_config.")
    layers, width = (tower.number(name) or usual for name, usual in _USUAL_VISION.items())
    return layers, width
