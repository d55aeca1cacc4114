"""Figures that cannot be are refused where they are written, with the place and the value."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalkit.errors import DeclarationError, ModalkitError, SizingError
from modalkit.lock.lockfile import LockedModel
from modalkit.sizing.cache_layer import CacheLayer, Keeps
from modalkit.sizing.load import Load, Split
from modalkit.sizing.memory import breakdown
from modalkit.sizing.model import ModelFacts, model_facts
from modalkit.sizing.parts import Division, Kind, Place, WeightPart, layers_of, written_layers

SOUND: dict[str, Any] = {
    "name": "ours",
    "total_parameters": 12_000,
    "active_parameters": 9_000,
    "weight_bytes": 24_000,
    "loaded_bytes": 24_000,
}
AT_LEAST_ONE = ["total_parameters", "active_parameters", "weight_bytes", "loaded_bytes"]
AT_LEAST_ONE += ["attention_heads", "kv_heads"]
AT_LEAST_NONE = ["extra_stored_bytes", "stored_bytes", "stored_parameters", "lora_width"]
AT_LEAST_NONE += ["expert_bytes", "replicated_bytes", "key_value_bytes", "embedding_bytes"]
AT_LEAST_NONE += ["max_context", "hidden_size", "vocab_size", "layers", "experts"]
SMALLEST = dict.fromkeys(AT_LEAST_ONE, 1) | dict.fromkeys(AT_LEAST_NONE, 0)


@given(st.sampled_from(sorted(SMALLEST)), st.integers(-(10**15), 0))
def test_counts_below_the_smallest_are_refused(name: str, value: int):
    """No count is negative, and what there must be one of is not 0; the message names field and value."""
    if value >= SMALLEST[name]:
        ModelFacts(**{**SOUND, name: value})
        return
    with pytest.raises(DeclarationError) as refused:
        ModelFacts(**{**SOUND, name: value})
    assert f"ModelFacts.{name} must be at least {SMALLEST[name]}, got {value}." in str(
        refused.value
    )


@pytest.mark.parametrize("name", sorted(SMALLEST))
def test_the_smallest_counts_are_taken(name: str):
    """The nearest possible figure of each is accepted."""
    least = {**SOUND, "active_parameters": 1, name: SMALLEST[name]}
    assert getattr(ModelFacts(**least), name) == SMALLEST[name]


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_active_parameters_are_part_of_all(total: int, active: int):
    """More active parameters than there are is refused; as many is not."""
    figures = {**SOUND, "total_parameters": total, "active_parameters": active}
    if active <= total:
        assert ModelFacts(**figures).active_parameters == active
        return
    with pytest.raises(
        DeclarationError, match=r"active_parameters .* are more than total_parameters"
    ):
        ModelFacts(**figures)


@given(st.tuples(*[st.integers(0, 20_000)] * 3), st.integers(0, 30_000))
def test_parts_are_no_more_than_what_is_loaded(parts: tuple[int, int, int], embeddings: int):
    """Experts, replicated weights and key-value projections together are part of what is loaded."""
    names = ("expert_bytes", "replicated_bytes", "key_value_bytes")
    figures = SOUND | dict(zip(names, parts, strict=True)) | {"embedding_bytes": embeddings}
    if sum(parts) <= 24_000 and embeddings <= 24_000:
        assert sum(part.bytes for part in ModelFacts(**figures).weight_parts) == 24_000
        return
    with pytest.raises(DeclarationError, match=r"more than loaded_bytes 24,000"):
        ModelFacts(**figures)


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"dtype": "bflaot16"}, "dtype 'bflaot16' is not one that is known. Write one of "),
        ({"cache_at": (0, 1)}, "cache_at names 2 layers for 0 entries of cache"),
        ({"block_sizes": (0,)}, "block_sizes"),
        ({"vision": (0, 1024)}, "vision"),
        ({"total_parameters": "many"}, "total_parameters"),
        ({"total_parameters": float("nan")}, "total_parameters"),
        ({"parameters": 5}, "parameters"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_what_does_not_go_together_is_refused(figures: dict[str, Any], said: str):
    """An unknown type, unequal lists and values of another kind are refused by name."""
    with pytest.raises(DeclarationError) as refused:
        ModelFacts(**SOUND | figures)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Load(context=0), "Load.context must be at least 1, got 0."),
        (lambda: Load(concurrency=-1), "Load.concurrency must be at least 1, got -1."),
        (lambda: Load(cache_bytes=0.0), "Load.cache_bytes must be above 0, got 0.0."),
        (lambda: Load(cache_bytes=float("inf")), "Load.cache_bytes must be above 0, got inf."),
        (lambda: Load(lora_bytes=-5), "Load.lora_bytes must be at least 0, got -5."),
        (lambda: Split(tensor=0), "Split.tensor must be at least 1, got 0."),
        (lambda: Split(expert=0), "Split.expert must be at least 1, got 0."),
        (lambda: Split(pipeline=-2), "Split.pipeline must be at least 1, got -2."),
        (lambda: CacheLayer("a", Keeps.ALL, -1), "CacheLayer.elements .* at least 0, got -1."),
        (lambda: CacheLayer("a", Keeps.WINDOW, 8), "CacheLayer.window .* at least 1, got 0."),
        (lambda: CacheLayer("a", Keeps.ALL, heads=0), "CacheLayer.heads .* at least 1, got 0."),
        (
            lambda: WeightPart(Kind.MLP, Division.TENSOR, Place.EVENLY, 1, -1, "fp8"),
            "WeightPart.bytes must be at least 0, got -1.",
        ),
        (
            lambda: WeightPart(Kind.MLP, Division.TENSOR, Place.LAYERS, 1, 1, "fp8"),
            "WeightPart.layers must name the layers",
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_other_figures_that_cannot_be(make: Any, said: str):
    """Loads, splits, layers and parts refuse what cannot be, with field and value."""
    with pytest.raises(DeclarationError, match=said):
        make()


NUMBERS = ["hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"]
NUMBERS += [
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "sliding_window",
    "head_dim",
]
ODD = st.one_of(
    st.integers(-3, 3),
    st.none(),
    st.booleans(),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(-1, 2), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["llama", "qwen3_moe", "gemma3_text", "mistral", "qwen3_next", "deepseek_v3"]),
    st.dictionaries(
        st.sampled_from([*NUMBERS, "layer_types", "dtype", "quantization_config"]), ODD, max_size=4
    ),
)
def test_an_odd_config_is_sized_or_refused_in_words(model_type: str, odd: dict[str, Any]):
    """Whatever a config says, it is sized or refused with a sentence; nothing else comes out."""
    with contextlib.suppress(ModalkitError):
        found = model_facts({"model_type": model_type, **odd})
        assert found.total_parameters > 0
        assert breakdown(found, Load(), Split(), 80, "vllm").used_bytes > 0


DEEPSEEK = {
    "model_type": "deepseek", "hidden_size": 2048, "intermediate_size": 10944, "num_hidden_layers": 28,
    "vocab_size": 102400, "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6,
    "moe_intermediate_size": 1408, "first_k_dense_replace": 1, "num_key_value_heads": 16,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({**DEEPSEEK, "num_attention_heads": 0}, "ZeroDivisionError"),
        ({"model_type": "mixtral", "num_experts_per_tok": [None]}, "TypeError"),
        ({"model_type": "kimi_linear", "linear_attn_config": {"num_heads": [{}]}}, "Error"),
        ({"model_type": "bart", "encoder_attention_heads": [{}]}, "TypeError"),
    ],
)
def test_an_odd_value_is_refused_wherever_it_is_read(config: dict[str, Any], said: str):
    """What fails in the count, the cache or the heads is refused with the config's own words, too."""
    with pytest.raises(SizingError, match=rf"in another way than .*{said}"):
        model_facts(config)


@given(st.sets(st.integers(0, 90), max_size=60))
def test_layers_are_written_as_runs(layers: set[int]):
    """What is written as runs reads back the same."""
    assert layers_of(written_layers(layers)) == tuple(sorted(layers))


@pytest.mark.parametrize(
    "model_type", ["llama", "deepseek_v3", "qwen3_next", "t5", "longcat_flash"]
)
def test_facts_come_back_from_a_lock(model_type: str):
    """Every part and layer of the facts survives being written and read."""
    facts = model_facts({"model_type": model_type})
    text = LockedModel(id="a/b", facts=facts).model_dump_json(exclude_defaults=True)
    assert LockedModel.model_validate(json.loads(text)).facts == facts


def test_a_declaration_reads_no_configs():
    """What names `ModelFacts` alone, as every service does, waits for none of what works them out."""
    code = "import sys, modalkit.service; print(*(name for name in sys.modules if 'modalkit.sizing' in name))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    read = {name.removeprefix("modalkit.sizing.") for name in done.stdout.split()}
    assert "facts" in read
    assert not read & {"attention", "cache", "configs", "formats", "kinds", "layouts", "model"}
