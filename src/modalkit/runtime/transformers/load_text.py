"""Loading a causal language model."""

from __future__ import annotations

import logging

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
)

from ...errors import DeclarationError
from .cache import bytes_per_token
from .forward import CausalForward, left_padded
from .hub import device, folder, model_arguments, source, vocabulary_size
from .in_memory import load_from_memory
from .memory import MemoryPlan, free_bytes, plan_memory
from .options import EngineOptions
from .probe import batches_correctly
from .prompts import PromptEncoder
from .reading import reading_ahead, weight_files
from .scheduler import Limits, Scheduler
from .text import TokenTexts
from .text_engine import TextEngine

__all__ = ["load_text_engine"]

_LOG = logging.getLogger(__name__)
_CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx")
_UNKNOWN_CONTEXT = 2048
# A CPU is busy with this many for a few decode steps' time; a GPU needs more to be busy at all.
_PREFILL_TOKENS = {"cpu": 192, "cuda": 4096}
_Loader = type[AutoModelForCausalLM] | type[AutoModelForMultimodalLM]


def load_text_engine(options: EngineOptions) -> tuple[TextEngine, str]:
    """The engine, and one line on what was loaded."""
    loader = _loader(options)
    tokenizer = AutoTokenizer.from_pretrained(options.model, **source(options))
    model = _model(options, loader)
    vocabulary = vocabulary_size(model)
    forward = CausalForward(model)
    with torch.inference_mode():
        batched = batches_correctly(forward, vocabulary, model.dtype)
        plan = _plan(options, model, forward)
    if not batched:
        _LOG.warning("This architecture is not batched: each answer takes model calls of its own.")
    reads = (
        options.prefill_tokens or _PREFILL_TOKENS["cpu" if forward.device.type == "cpu" else "cuda"]
    )
    limits = Limits(options.max_batch_size, plan.max_cells, reads, batched)
    engine = TextEngine(
        Scheduler(forward, limits),
        PromptEncoder(tokenizer, vocabulary),
        TokenTexts(tokenizer),
        ends=_ends(model, tokenizer),
        context_length=plan.context_length,
        max_open=options.max_batch_size + options.max_waiting,
    )
    kind = "batched" if batched else "one by one"
    what = f"{type(model).__name__}, {model.device}, {str(model.dtype).removeprefix('torch.')}"
    return engine, f"{what}, context {plan.context_length}, up to {options.max_batch_size} {kind}"


def _model(options: EngineOptions, loader: _Loader) -> PreTrainedModel:
    """The model on its device, its weights read in the fastest way that they can be."""
    place, arguments = folder(options), model_arguments(options)
    files = weight_files(place)
    if loader is AutoModelForCausalLM:  # the class that is read into memory is one of these
        loaded = load_from_memory(place, files, arguments)
        if loaded is not None:
            return nn.Module.to(loaded, device(options))
    with reading_ahead(files):
        loaded = loader.from_pretrained(options.model, **arguments)
        return nn.Module.to(loaded, device(options))


def _loader(options: EngineOptions) -> _Loader:
    """Whose class it is; a model that also sees or hears is loaded whole, and asked for text alone."""
    config = AutoConfig.from_pretrained(options.model, **source(options))
    own = getattr(config, "auto_map", None) or {}
    writes_on = not _has_encoder(config)
    if writes_on and (
        type(config) in MODEL_FOR_CAUSAL_LM_MAPPING or AutoModelForCausalLM.__name__ in own
    ):
        return AutoModelForCausalLM
    if writes_on and type(config) in MODEL_FOR_MULTIMODAL_LM_MAPPING:
        return AutoModelForMultimodalLM
    msg = (
        f"{options.model!r} is of the type {config.model_type!r}, which does not go on with a text. Write "
        "Transformers(task='embed') where it makes vectors, or serve it with VLLM or SGLang."
    )
    raise DeclarationError(msg)


def _has_encoder(config: PreTrainedConfig) -> bool:
    """Whether a prompt goes to an encoder, be it that of the part that writes (a T5 behind a picture)."""
    parts = (config, config.get_text_config(decoder=True))
    return any(part.is_encoder_decoder for part in parts)


def _plan(options: EngineOptions, model: PreTrainedModel, forward: CausalForward) -> MemoryPlan:
    """Measure what a token takes, rather than derive it from each family's own field names."""
    cache = forward.new_cache()
    forward(*left_padded([[0]], forward.device), cache)
    budget = free_bytes(forward.device)
    return plan_memory(options, _model_context(model), bytes_per_token(cache), budget)


def _model_context(model: PreTrainedModel) -> int:
    config = model.config.get_text_config(decoder=True)
    known = [getattr(config, name, None) for name in _CONTEXT_NAMES]
    return next((int(value) for value in known if value), _UNKNOWN_CONTEXT)


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token the model's authors say ends an answer."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ends = {configured} if isinstance(configured, int) else set(configured or ())
    ends.add(tokenizer.eos_token_id)
    return frozenset(token for token in ends if isinstance(token, int))
