"""Sizing against what running models keep: tiny ones of every family, with random weights."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

_SPEC = importlib.util.spec_from_file_location(
    "running_cache", Path(__file__).with_name("running_cache.py")
)
assert _SPEC is not None
assert _SPEC.loader is not None
running_cache = importlib.util.module_from_spec(_SPEC)
sys.modules["running_cache"] = running_cache
_SPEC.loader.exec_module(running_cache)

FAMILIES = {
    "heads": ["llama", "qwen3", "gpt2", "bloom", "falcon", "phi3", "stablelm", "jetmoe", "laguna"],
    "experts": ["mixtral", "qwen3_moe", "olmoe", "granitemoe", "lfm2_moe", "dbrx"],
    # LongCat-Flash without its identity experts: the class alone makes room for them.
    "latent": ["deepseek_v3", "kimi_k25", "minicpm3", "longcat_flash"],
    "sparse latent": ["deepseek_v32", "glm_moe_dsa", "axk2"],
    "compressed": ["deepseek_v4"],
    "sliding": ["mistral", "gemma2", "gemma3_text", "gemma4_text", "gpt_oss", "cohere2", "step3p7"],
    "chunked": ["llama4_text"],
    "delta": ["qwen3_next", "qwen3_5_text", "kimi_linear", "olmo_hybrid"],
    "mamba": [
        "mamba",
        "mamba2",
        "falcon_mamba",
        "jamba",
        "bamba",
        "nemotron_h",
        "granitemoehybrid",
    ],
    "hybrid": ["falcon_h1"],
    "other recurrences": ["minimax", "lfm2", "rwkv"],
    "cross": ["t5", "bart", "marian", "whisper", "m2m_100", "seamless_m4t", "nllb-moe"],
    "towers": [
        "llava_onevision",
        "qwen3_vl",
        "idefics3",
        "gemma3",
        "granite_speech",
        "janus",
        "chameleon",
    ],
    "encoders": ["bert", "modernbert"],
}
NAMES = [name for names in FAMILIES.values() for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("model_type", NAMES)
def test_a_running_cache_holds_what_sizing_says(model_type: str):
    """A model's cache after a forward pass holds the numbers that sizing works out, kind by kind."""
    torch.set_num_threads(1)
    tokens = 120 if model_type == "deepseek_v4" else 16  # compressed, and within the window
    config = running_cache.tiny(model_type)
    held = running_cache.measure(config, tokens)
    facts, said = running_cache.expected(config, tokens)
    assert held.other == {}
    for part in ("parameters", "attention", "cross", "index", "compressed", "state"):
        assert getattr(held, part) == getattr(said, part), part
    assert facts.weight_bytes == facts.loaded_bytes == 2 * held.parameters


@pytest.mark.slow
@pytest.mark.parametrize(
    "model_type", ["mistral", "gemma3_text", "gpt_oss", "cohere2", "llama4_text"]
)
def test_a_window_keeps_no_more_than_sizing_says(model_type: str):
    """Beyond a window a running cache keeps one token less than it is wide, as sizing says."""
    from modalkit.sizing.memory import Load, kept_tokens

    torch.set_num_threads(1)
    config = running_cache.tiny(model_type)
    for name in ("sliding_window", "attention_chunk_size"):
        if getattr(config, name, None):
            setattr(config, name, 8)
    held = running_cache.measure(config, 40)
    facts, _ = running_cache.expected(config, 40)
    load = Load(context=40, concurrency=1, batched_tokens=0)
    said = sum(layer.elements * kept_tokens(layer, load, block=0) for layer in facts.cache)
    assert held.attention == pytest.approx(said, rel=0.15)
    assert held.attention <= said
