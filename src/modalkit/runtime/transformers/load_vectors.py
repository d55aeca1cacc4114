"""Loading an embedding model, with what its sentence-transformers files say about it."""

from __future__ import annotations

from typing import cast

from pydantic import JsonValue
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ...errors import DeclarationError
from .hub import device, model_arguments, read_json, source
from .options import EngineOptions
from .pooling import Pooling, pooling_from_json
from .vector_engine import TextEncoder, VectorEngine

__all__ = ["load_vector_engine"]


def load_vector_engine(options: EngineOptions) -> tuple[VectorEngine, str]:
    """The engine, and one line on what was loaded."""
    modules = _modules(options)
    folder = modules.get("Transformer", "")
    prefix = f"{folder}/" if folder else ""
    settings = read_json(options, f"{prefix}sentence_bert_config.json")
    tokenizer = AutoTokenizer.from_pretrained(options.model, subfolder=folder, **source(options))
    loaded = AutoModel.from_pretrained(options.model, subfolder=folder, **model_arguments(options))
    model: PreTrainedModel = nn.Module.to(loaded, device(options))
    pooling = _pooling(options, modules)
    encoder = TextEncoder(
        model,
        tokenizer,
        pooling,
        max_tokens=_max_tokens(options, model, tokenizer, settings),
        lowercase=bool(isinstance(settings, dict) and settings.get("do_lower_case")),
        prefix=_default_prompt(options),
    )
    engine = VectorEngine(encoder, options.max_batch_size, options.max_waiting)
    what = f"{type(model).__name__}, {model.device}, {str(model.dtype).removeprefix('torch.')}"
    return engine, f"{what}, {pooling.mode} pooling, up to {encoder.max_tokens} tokens"


def _modules(options: EngineOptions) -> dict[str, str]:
    """The folders of the model's modules by kind; empty for a plain encoder."""
    listed = read_json(options, "modules.json")
    modules: dict[str, str] = {}
    for entry in listed if isinstance(listed, list) else []:
        fields = cast("dict[str, str]", entry)
        modules[fields["type"].rpartition(".")[2]] = fields["path"]
    unknown = sorted(modules.keys() - {"Transformer", "Pooling", "Normalize"})
    if unknown:
        msg = (
            f"The model has a {unknown[0]!r} module, which modalkit's embedding engine does not "
            "run. Serve this model from a custom service with sentence-transformers."
        )
        raise DeclarationError(msg)
    return modules


def _pooling(options: EngineOptions, modules: dict[str, str]) -> Pooling:
    config = read_json(options, f"{modules['Pooling']}/config.json") if "Pooling" in modules else {}
    return pooling_from_json(config, normalize="Normalize" in modules)


def _max_tokens(
    options: EngineOptions,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    settings: JsonValue,
) -> int:
    """sentence-transformers' rule: the model's own setting, else what model and tokenizer take."""
    stated = settings.get("max_seq_length") if isinstance(settings, dict) else None
    places = getattr(model.config, "max_position_embeddings", None)
    limit = min(tokenizer.model_max_length, places or tokenizer.model_max_length)
    if isinstance(stated, int):
        limit = stated
    return min(limit, options.context_length or limit)


def _default_prompt(options: EngineOptions) -> str:
    """Text that sentence-transformers puts before every input unless told otherwise."""
    config = read_json(options, "config_sentence_transformers.json")
    if not isinstance(config, dict):
        return ""
    prompts, name = config.get("prompts"), config.get("default_prompt_name")
    chosen = prompts.get(name) if isinstance(prompts, dict) and isinstance(name, str) else None
    return chosen if isinstance(chosen, str) else ""
