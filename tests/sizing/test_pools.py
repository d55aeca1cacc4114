"""SGLang's pools: fixed proportions that hold more than a load needs, by the release whose code was read."""

from __future__ import annotations

import math

import pytest

from modalkit.sizing.memory import Load, Serving, Split, breakdown
from modalkit.sizing.model import ModelFacts, model_facts

HYBRID = {"model_type": "qwen3_next", "num_hidden_layers": 8, "max_position_embeddings": 131_072}


def kept(model: ModelFacts, load: Load, served: Serving | str, split: Split | None = None) -> dict[str, int]:  # fmt: skip
    """What a breakdown says of caches, states and pools."""
    found = breakdown(model, load, split or Split(), 139.8, served)  # type: ignore[arg-type]
    names = {"KV cache", "recurrent state", "beyond windows", "spare states"}
    return {line.what: line.bytes for line in found.lines if line.what in names}


def test_states_and_tokens_share_in_a_fixed_proportion():
    """Five states a request and one more are 0.9 of the cache, or the cache is as much more."""
    model = model_facts(HYBRID)
    one = model.state_bytes_per_sequence
    short = kept(model, Load(512, 8), "sglang")
    states = (5 * 8 + 1) * one
    assert sum(short.values()) == math.ceil(states * 1.9 / 0.9)
    long = kept(model, Load(100_000, 1), "sglang")
    assert sum(long.values()) == math.ceil(1.9 * long["KV cache"])
    for served in ("vllm", "transformers"):
        assert "spare states" not in kept(model, Load(512, 8), served)


def test_without_shared_beginnings_a_request_has_one_state():
    """``prefix_caching=False`` leaves one state a request; with ``max_running_requests`` as many as those."""
    model = model_facts(HYBRID)
    one = model.state_bytes_per_sequence
    plain = kept(model, Load(64, 8), Serving("sglang", prefix_cache=False))
    assert sum(plain.values()) == math.ceil((8 + 1) * one * 1.9 / 0.9)
    capped = kept(model, Load(64, 8), Serving("sglang", prefix_cache=False, max_requests=16))
    assert capped["recurrent state"] + capped["spare states"] == (16 + 1) * one


@pytest.mark.parametrize("model_type", ["gemma3", "gemma2", "cohere2", "olmo3"])
def test_sliding_layers_without_a_pool_of_their_own_keep_every_token(model_type: str):
    """SGLang keeps all tokens of all layers of these; vLLM those in the window."""
    model = model_facts({"model_type": model_type, "max_position_embeddings": 131_072})
    load = Load(100_000, 2)
    found = kept(model, load, "sglang")
    assert sum(found.values()) == 2 * 100_000 * model.kv_bytes_per_token()
    assert "beyond windows" not in kept(model, load, "vllm")
    assert "beyond windows" not in kept(model, Load(1024, 2), "sglang")


def test_sliding_layers_with_a_pool_of_their_own_have_four_fifths_of_the_tokens():
    """gpt-oss: the pool of its sliding layers is 0.8 of the full one, however short the window is."""
    model = model_facts({"model_type": "gpt_oss"})
    half = model.kv_bytes_per_token() // 2
    found = kept(model, Load(100_000, 2), "sglang")
    assert sum(found.values()) == math.ceil(2 * 100_000 * half * 1.8)


def test_a_model_without_either_is_as_it_was():
    """A model whose layers all keep every token has no such line, and one with other pools has none yet."""
    for model_type in ("llama", "deepseek_v3", "deepseek_v4", "bert"):
        model = model_facts({"model_type": model_type})
        found = kept(model, Load(min(8192, model.max_context or 8192), 4), "sglang")
        assert not {"beyond windows", "spare states"} & set(found)


def test_ranks_share_the_pools():
    """Over two tensor ranks each has half of the states."""
    model = model_facts(HYBRID)
    alone, two = (
        kept(model, Load(512, 8), "sglang", Split(tensor=ranks))["spare states"] for ranks in (1, 2)
    )
    assert two == pytest.approx(alone / 2, rel=0.01)
