"""Which engine a model needs, and loading it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import AutoConfig
from transformers.utils.logging import disable_progress_bar

from .cpus import usable_cpus
from .hub import read_json, source
from .load_text import load_text_engine
from .load_vectors import load_vector_engine
from .options import EngineOptions
from .text_engine import TextEngine
from .vector_engine import VectorEngine

__all__ = ["Loaded", "load_engine"]

_GENERATIVE = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


@dataclass(frozen=True, slots=True)
class Loaded:
    """One of two kinds of engine, and one line on what it is."""

    summary: str
    text: TextEngine | None = None
    vectors: VectorEngine | None = None


def load_engine(options: EngineOptions) -> Loaded:
    """The engine for this model, ready to run."""
    torch.set_num_threads(options.threads or usable_cpus())
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers' own
    if _embeds(options):
        vectors, summary = load_vector_engine(options)
        return Loaded(summary, vectors=vectors)
    text, summary = load_text_engine(options)
    return Loaded(summary, text=text)


def _embeds(options: EngineOptions) -> bool:
    if options.task != "auto":
        return options.task == "embed"
    if read_json(options, "modules.json") is not None:
        return True
    config = AutoConfig.from_pretrained(options.model, **source(options))
    return not any(name.endswith(_GENERATIVE) for name in config.architectures or [])
