"""Which engine a model needs, and loading it."""

from __future__ import annotations

import torch
from transformers import AutoConfig, logging

from .hub import read_json, source
from .load_text import load_text_engine
from .load_vectors import load_vector_engine
from .options import EngineOptions
from .text_engine import TextEngine
from .vector_engine import VectorEngine

__all__ = ["load_engine"]

_GENERATIVE = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def load_engine(options: EngineOptions) -> tuple[TextEngine | VectorEngine, str]:
    """The engine for this model, ready to run, and one line on what it is."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    logging.disable_progress_bar()
    if _embeds(options):
        return load_vector_engine(options)
    return load_text_engine(options)


def _embeds(options: EngineOptions) -> bool:
    if options.task != "auto":
        return options.task == "embed"
    if read_json(options, "modules.json") is not None:
        return True
    config = AutoConfig.from_pretrained(options.model, **source(options))
    return not any(name.endswith(_GENERATIVE) for name in config.architectures or [])
