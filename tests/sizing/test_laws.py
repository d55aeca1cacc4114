"""Laws of sizing that hold for every model."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from modalkit.declare.gpu import gpu_catalogue
from modalkit.sizing.fit import examine
from modalkit.sizing.fractions import roomier_fraction
from modalkit.sizing.memory import (
    Load,
    Serving,
    Split,
    breakdown,
    cache_per_gpu,
    state_per_gpu,
    weights_per_gpu,
)
from modalkit.sizing.mistral_format import as_config
from modalkit.sizing.model import ModelFacts, model_facts
from modalkit.sizing.reserves import least_outside

ENGINES = st.sampled_from(["sglang", "vllm", "transformers"])
# Families of every kind of layer and split, whole multimodal and encoder-decoder models among them, at
# the sizes their classes default to; and the published models of `published.json`.
DEFAULTS = ("deepseek_v3", "gpt_oss", "jamba", "mamba2", "dbrx", "t5gemma", "nllb-moe", "janus")
DEFAULTS += (
    "chameleon",
    "csm",
    "qwen2_5_omni",
    "wav2vec2",
    "whisper",
    "minimax",
    "falcon_h1",
    "t5",
)
PUBLISHED: list[dict[str, Any]] = json.loads(Path(__file__).with_name("published.json").read_text())
CARDS = sorted(
    {gpu.name: gpu for gpu in gpu_catalogue().values()}.values(), key=lambda one: one.total_gib
)


@st.composite
def models(draw: st.DrawFn) -> ModelFacts:
    """Models of several families at sizes of their own."""
    heads = draw(st.sampled_from([8, 16, 32, 64]))
    size = draw(st.sampled_from([64, 128]))
    layers = draw(st.integers(2, 96))
    common = {
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_size": heads * size,
    }
    common |= {"num_key_value_heads": draw(st.sampled_from([1, 2, 8])), "head_dim": size}
    common |= {"vocab_size": 128_000, "max_position_embeddings": 131_072, "intermediate_size": 4096}
    kind = draw(st.sampled_from(["llama", "qwen3_moe", "gemma3_text", "qwen3_next"]))
    return model_facts({"model_type": kind, "sliding_window": 1024, **common})


@functools.cache
def known(number: int) -> ModelFacts:
    """One of the default and the published models."""
    if number < len(DEFAULTS):
        return model_facts({"model_type": DEFAULTS[number]})
    model = PUBLISHED[number - len(DEFAULTS)]
    return model_facts(as_config(model["params"]) if "params" in model else model["config"])


LOADS = st.builds(Load, st.integers(1, 100_000), st.integers(1, 64))
ANY = st.one_of(models(), st.integers(0, len(DEFAULTS) + len(PUBLISHED) - 1).map(known))


@settings(deadline=None)
@given(ANY, st.integers(1, 200_000), st.integers(0, 50_000), st.integers(1, 64))
def test_more_context_never_needs_less_memory(
    model: ModelFacts, context: int, more: int, requests: int
):
    """A longer context keeps at least as many bytes."""
    short, long = Load(context, requests), Load(context + more, requests)
    assert cache_per_gpu(model, short, Split()) <= cache_per_gpu(model, long, Split())


@settings(deadline=None)
@given(ANY, st.integers(1, 64), st.integers(0, 64))
def test_more_requests_never_need_less_memory(model: ModelFacts, requests: int, more: int):
    """More requests at once keep at least as many bytes, states included."""
    few, many = Load(4096, requests), Load(4096, requests + more)
    assert cache_per_gpu(model, few, Split()) <= cache_per_gpu(model, many, Split())
    assert state_per_gpu(model, few, Split()) <= state_per_gpu(model, many, Split())


@settings(deadline=None)
@given(ANY, ENGINES, st.integers(1, 100_000), st.integers(1, 64))
def test_what_fits_a_card_fits_a_larger_one(model: ModelFacts, engine, context: int, requests: int):
    """A card with more memory holds what a smaller one holds."""
    fits = [
        breakdown(model, Load(context, requests), Split(), card.total_gib, engine).fits
        for card in CARDS
    ]
    assert fits == sorted(fits)


@settings(deadline=None)
@given(ANY, st.sampled_from([1, 2, 4]))
def test_twice_the_ranks_never_hold_more_each(model: ModelFacts, tensor: int):
    """Doubling tensor parallelism never raises what one GPU holds."""
    load = Load(8192, 8)
    one, two = Split(tensor=tensor), Split(tensor=2 * tensor)
    assert weights_per_gpu(model, two) <= weights_per_gpu(model, one)
    assert cache_per_gpu(model, load, two) <= cache_per_gpu(model, load, one)


@settings(deadline=None)
@given(ANY, ENGINES)
def test_a_breakdown_adds_up(model: ModelFacts, engine):
    """The lines and what is free make the card's total."""
    found = examine(model, Load(4096, 4), engine, (gpu_catalogue()["H100"], 1)).breakdown
    assert sum(line.bytes for line in found.lines) + found.free_bytes == found.total_bytes
    assert all(line.bytes >= 0 and line.source for line in found.lines)


TOLD = st.builds(
    Serving,
    st.sampled_from(["vllm", "sglang"]),
    memory_fraction=st.one_of(st.none(), st.floats(0.02, 1.0)),
)


@settings(deadline=None)
@given(ANY, LOADS, st.sampled_from(CARDS), st.sampled_from([1, 2, 4]), TOLD)
def test_a_proposed_share_makes_it_fit(model, load, card, tensor, served):
    """With it a model fits, with a hundredth less it does not, and the engine has what it needs outside."""
    split = Split(tensor=tensor)
    found = breakdown(model, load, split, card.total_gib, served)
    share = roomier_fraction(model, split, found, served)
    if share is None:
        return
    for less, fits in ((0.0, True), (0.01, False)):
        told = replace(served, memory_fraction=round(share - less, 2) or 1e-9)
        assert breakdown(model, load, split, card.total_gib, told).fits is fits
    outside = least_outside(model, split, found.total_bytes, served)
    assert found.total_bytes * (1 - share) >= outside - 1


@settings(deadline=None)
@given(ANY, LOADS, st.integers(0, 50_000), st.integers(0, 64))
def test_more_of_either_never_needs_less_of_sglangs_pools(model, load, longer, more):
    """Whatever the proportions of SGLang's pools, a greater load takes as much of a card at least."""
    greater = replace(load, context=load.context + longer, concurrency=load.concurrency + more)
    loads = (load, greater)
    used = [breakdown(model, load, Split(), 139.8, "sglang").used_bytes for load in loads]
    assert used == sorted(used)
