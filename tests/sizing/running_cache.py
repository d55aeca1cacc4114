"""Tiny real models of any class of transformers, run once, and what their caches then hold.

The weights are random and the sizes small; head sizes, patterns of layers and kinds of state are those
of the class. `measure` runs one forward pass and sorts every tensor of the cache by the attribute it
hangs on, so that `expected` of the same config can be held against it number by number.
"""

from __future__ import annotations

import json
import math
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from modalkit.sizing.cache_layer import Keeps
from modalkit.sizing.composed import layout_of
from modalkit.sizing.model import ModelFacts, model_facts

LAYERS, VOCABULARY, EXPERTS = 8, 512, 16
ENCODER_TOKENS = 12
_HEADS = (
    "num_attention_heads",
    "n_head",
    "n_heads",
    "num_heads",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "attention_heads",
)
_WIDTHS = ("hidden_size", "d_model", "n_embd", "n_embed", "dim", "model_dim", "word_embed_proj_dim")
_FEED_FORWARD = (
    "intermediate_size",
    "ffn_dim",
    "d_ff",
    "n_inner",
    "ffn_hidden_size",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "expert_ffn_hidden_size",
)
_COUNTS = (
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "encoder_layers",
    "decoder_layers",
    "num_decoder_layers",
)
_EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_VOCABULARIES = ("vocab_size", "src_vocab_size", "tgt_vocab_size", "decoder_vocab_size")
# DeepSeek-V4's tokens that wait to be compressed: fewer than an entry takes, kept by no engine's cache.
_PENDING = ("buffer_kv", "buffer_gate", "overlap_kv", "overlap_gate")
_TOWERS = ("vision", "audio", "qformer", "encoder", "perceiver")
# Sizes that a class checks against each other, or that its defaults leave out; below "=" all of them.
HINTS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("tiny_hints.json").read_text()
)


@dataclass
class Held:
    """Numbers that a cache holds, by what they are; bytes of every parameter."""

    attention: int = 0
    cross: int = 0
    index: int = 0
    compressed: int = 0
    state: int = 0
    pending: int = 0
    other: Counter[str] = field(default_factory=Counter)
    parameters: int = 0


def tiny(model_type: str) -> Any:
    """The class's default config, shrunk."""
    kind, hints = CONFIG_MAPPING[model_type], HINTS.get(model_type, {})
    if "=" in hints:
        return kind(**hints["="])
    settings = _shrunk(kind().to_dict())
    for name in ("transformers_version", "architectures"):
        settings.pop(name, None)
    for path, value in hints.items():
        *outer, last = path.split(".")
        inside = settings
        for name in outer:
            inside = inside[name]
        inside[last] = value
    return kind.from_dict(settings)


def measure(config: Any, tokens: int) -> Held:
    """Run a model of random weights on some tokens and count what its cache holds."""
    model = _built(config)
    ids = torch.randint(3, 200, (1, tokens))
    given: dict[str, Any] = {"input_ids": ids}
    if config.is_encoder_decoder:
        given = {"input_ids": torch.randint(3, 200, (1, ENCODER_TOKENS)), "decoder_input_ids": ids}
    if config.model_type == "whisper":
        frames = 2 * config.max_source_positions
        given["input_features"] = torch.randn(1, config.num_mel_bins, frames)
        del given["input_ids"]
    with torch.no_grad():
        answer = model(**given, use_cache=True)
    held = Held(parameters=sum(one.numel() for one in model.parameters()))
    names = ("past_key_values", "cache_params", "state", "mems", "rnn_state")
    cache = next(
        (found for name in names if (found := getattr(answer, name, None)) is not None), None
    )
    _sort(cache, config.model_type, held, set())
    return held


def expected(config: Any, tokens: int) -> tuple[ModelFacts, Held]:
    """What sizing says of the same config."""
    facts = model_facts(config.to_dict())
    held = Held(parameters=facts.total_parameters)
    for layer in facts.cache:
        entries = tokens // layer.window if layer.keeps is Keeps.COMPRESSED else tokens
        index = max(0, layer.extra_bytes - 4)
        held.state += layer.state_bytes
        if layer.keeps is Keeps.ENCODER:
            held.cross += layer.elements * (layer.window or ENCODER_TOKENS)
        elif layer.keeps is Keeps.COMPRESSED:
            held.compressed += entries * (layer.elements + index)
        elif layer.keeps is not Keeps.NOTHING:
            held.attention += entries * layer.elements
            held.index += entries * index
    return facts, held


def model_class(model_type: str) -> Any:
    """The class that an architecture file was read from."""
    return getattr(transformers, str(layout_of({"model_type": model_type})["source"]).split()[-1])


def _built(config: Any) -> Any:
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with warnings.catch_warnings(action="ignore"):
            return model_class(config.model_type)(config).eval()
    finally:
        torch.set_default_dtype(before)


def _number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shrunk(given: dict[str, Any]) -> dict[str, Any]:
    made = {
        name: _nested(name, value) if isinstance(value, dict) and name.endswith("config") else value
        for name, value in given.items()
    }
    heads = next((given[name] for name in _HEADS if _number(given.get(name))), 0)
    width = next((given[name] for name in _WIDTHS if _number(given.get(name))), 0)
    if heads > 4 and width:
        _narrow(made, heads, max(8, width // heads))
    for names, most in ((_COUNTS, LAYERS), (_EXPERT_COUNTS, EXPERTS), (_VOCABULARIES, VOCABULARY)):
        for name in names:
            if _number(made.get(name)):
                made[name] = min(made[name], most)
    for name, value in made.items():
        if name.endswith(("token_id", "token_index")) and _number(value):
            made[name] = min(value, VOCABULARY - 1)
    layers = next((given[name] for name in _COUNTS if _number(given.get(name))), 0)
    for name, value in made.items():
        if isinstance(value, list) and len(value) == layers > LAYERS:
            made[name] = value[:LAYERS]
    return made


def _nested(name: str, given: dict[str, Any]) -> dict[str, Any]:
    if not any(word in name for word in _TOWERS):
        return _shrunk(given)
    return {
        name: min(value, 2) if name in {*_COUNTS, "depth"} and _number(value) else value
        for name, value in given.items()
    }


def _narrow(made: dict[str, Any], heads: int, size: int) -> None:
    """Leave four heads of the size they have."""
    for names, value in ((_WIDTHS, 4 * size), (_HEADS, 4), (_FEED_FORWARD, 128)):
        for name in names:
            if _number(made.get(name)):
                made[name] = value
    groups = made.get("num_key_value_heads")
    if _number(groups):
        made["num_key_value_heads"] = 4 if groups == heads else min(2, groups)


def _sort(found: Any, name: str, held: Held, seen: set[int]) -> None:
    """Add up the tensors below an object, each once."""
    if found is None or id(found) in seen or isinstance(found, torch.nn.Module):
        return
    seen.add(id(found))
    if isinstance(found, torch.Tensor):
        _add(found, name, held)
    elif isinstance(found, list | tuple):
        for one in found:
            _sort(one, name, held, seen)
    elif isinstance(found, Mapping):
        for inside, one in found.items():
            _sort(one, f"{name}.{inside}", held, seen)
    elif hasattr(found, "__dict__"):
        for inside, one in vars(found).items():
            _sort(one, f"{name}.{inside}", held, seen)


def _add(tensor: torch.Tensor, name: str, held: Held) -> None:
    if "conv_states" in name:  # all its kernel's columns, of which the oldest is never read again
        held.state += 2 * math.prod(tensor.shape[:-1]) * (tensor.shape[-1] - 1)
    elif any(
        word in name for word in ("recurrent", "linear_cache", "rnn_state", "ssm", "rwkv", "xlstm")
    ):
        held.state += 4 * tensor.numel()
    elif "cross_attention_cache" in name:
        held.cross += tensor.numel()
    elif any(word in name for word in _PENDING):
        held.pending += tensor.numel()
    elif "compressed_kv" in name:
        held.compressed += tensor.numel()
    elif "index" in name:
        held.index += tensor.numel()
    elif name.endswith(("keys", "values")):
        held.attention += tensor.numel()
    elif tensor.numel() > 1:
        held.other[name] += tensor.numel()
