"""A breakdown of memory: lines and parts that add up, each with arithmetic that a person can redo."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalkit.engines.sets import engine_set
from modalkit.sizing.holdings import Stage, weights_on
from modalkit.sizing.lines import Line
from modalkit.sizing.load import Load, Split, stages
from modalkit.sizing.memory import breakdown, itemised, weights_per_gpu
from modalkit.sizing.model import ModelFacts, model_facts
from modalkit.sizing.serving import FORMULA_RELEASES, Serving

from .configs import llama

ENGINES = ("sglang", "vllm", "transformers")
SMALL = {"num_attention_heads": 16, "vocab_size": 32_000, "max_position_embeddings": 65_536}
LLAMA = llama(10, 1024, 4096, **SMALL)
FP8 = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
FAMILIES: dict[str, dict[str, object]] = {
    "llama": LLAMA,
    "llama fp8": LLAMA | FP8,
    "llama tied": LLAMA | {"tie_word_embeddings": True},
    "llama float32": LLAMA | {"torch_dtype": "float32"},
    "deepseek_v3": {"model_type": "deepseek_v3"} | FP8,
    "deepseek_v32": {"model_type": "deepseek_v32"},
    "deepseek_v4": {
        "model_type": "deepseek_v4",
        "num_hidden_layers": 5,
        "compress_ratios": [0, 0, 4, 128, 4],
    },
    "qwen3_next": {"model_type": "qwen3_next"},
    "gemma3": {"model_type": "gemma3"},
    "gpt_oss": {"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}},
    "nemotron_h": {
        "model_type": "nemotron_h",
        "hybrid_override_pattern": "M-M*ME",
        "num_hidden_layers": 6,
    },
    "whisper": {"model_type": "whisper"},
    "t5": {"model_type": "t5"},
    "qwen2_audio": {"model_type": "qwen2_audio"},
    "bert": {"model_type": "bert"},
}
FACTS = {name: model_facts(config) for name, config in FAMILIES.items()}
STATED = ModelFacts(
    name="ours",
    total_parameters=12_000_000_000,
    active_parameters=12_000_000_000,
    weight_bytes=24_000_000_001,
    loaded_bytes=24_000_000_001,
    expert_bytes=7_000_000_000,
    embedding_bytes=1_000_000_000,
    attention_heads=32,
    kv_heads=8,
)
MODELS = st.sampled_from([*FACTS.values(), STATED])
SPLITS = st.builds(
    Split,
    tensor=st.sampled_from([1, 2, 4, 8]),
    pipeline=st.integers(1, 4),
    data=st.sampled_from([1, 2]),
)
LOADS = st.builds(
    Load,
    context=st.integers(1, 200_000),
    concurrency=st.integers(1, 64),
    cache_bytes=st.sampled_from([1.0, 2.0]),
    lora_bytes=st.sampled_from([0, 10_000_001]),
)
SERVINGS = st.builds(
    Serving,
    engine=st.sampled_from(ENGINES),
    memory_fraction=st.none() | st.floats(0.5, 1.0),
    max_requests=st.none() | st.integers(1, 512),
    chunk_tokens=st.none() | st.integers(1, 16_384),
    cuda_graphs=st.booleans(),
)


@settings(deadline=None)
@given(MODELS, LOADS, SPLITS, SERVINGS, st.sampled_from([14.56, 79.15, 267.7]))
def test_lines_and_their_parts_add_up(
    model: ModelFacts, load: Load, split: Split, served: Serving, total_gib: float
):
    """The parts of a line make its bytes, the lines what is used, and with what is free the card."""
    found = breakdown(model, load, split, total_gib, served)
    parted = itemised(found, model, load, split, served)
    for line in parted.lines:
        assert line.bytes >= 0
        assert line.source
        assert line.formula or not line.bytes
        if line.parts:
            assert sum(part.bytes for part in line.parts) == line.bytes
            assert all(part.formula and part.source for part in line.parts)
        else:
            assert line.what not in {"weights", "KV cache", "recurrent state"} or not line.bytes
    assert [line.bytes for line in parted.lines] == [line.bytes for line in found.lines]
    assert found.used_bytes + found.free_bytes == found.total_bytes == round(total_gib * 1024**3)


def _by_hand(formula: str) -> int:
    """Work a formula out as a person would: figures, ``x``, ``/``, ``+`` and brackets around them."""
    text = re.sub(r"^layers [\d,-]+: |\([a-zA-Z][^)]*\)", "", formula)
    figures = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?|(?<= )[x/+](?= )|[()]", text)
    return math.ceil(eval(" ".join(figures).replace(",", "").replace("x", "*")) - 1e-6)


@pytest.mark.parametrize("name", [*FACTS, "stated"])
@pytest.mark.parametrize(
    "split", [Split(), Split(2), Split(4, pipeline=2), Split(2, data=2)], ids=str
)
def test_every_part_can_be_worked_out_by_hand(name: str, split: Split):
    """What a part's arithmetic says in figures is its bytes, to what rounding the figures leaves."""
    model = FACTS.get(name, STATED)
    load = Load(16_384, 5)
    found = itemised(breakdown(model, load, split, 80, "vllm"), model, load, split, "vllm")
    for part in (part for line in found.lines for part in line.parts):
        assert _by_hand(part.formula) == pytest.approx(part.bytes, rel=1e-5, abs=1), part


def _parts(model: ModelFacts, what: str) -> dict[str, int]:
    load, split = Load(), Split()
    found = itemised(breakdown(model, load, split, 80, "vllm"), model, load, split, "vllm")
    (line,) = [line for line in found.lines if line.what == what]
    parts: dict[str, int] = {}
    for part in line.parts:
        parts[part.what] = parts.get(part.what, 0) + part.bytes
    return parts


def test_weights_are_listed_kind_by_kind():
    """Embeddings, attention, MLP, norms and head of a small Llama are what its shapes say."""
    layer = 10 * 2
    assert _parts(FACTS["llama"], "weights") == {
        "embeddings": 2 * 32_000 * 1024,
        "attention": layer * 2 * 1024 * 1024,
        "attention, keys and values": layer * 2 * 1024 * 512,
        "MLP": layer * 3 * 1024 * 4096,
        "norms": layer * 2 * 1024,
        "final norm": 2 * 1024,
        "output head": 2 * 32_000 * 1024,
    }


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("deepseek_v3", {"experts", "routers", "MLP", "attention", "norms"}),
        ("qwen3_next", {"linear attention and Mamba", "attention", "experts"}),
        ("gemma3", {"vision tower", "projector", "attention", "MLP"}),
        ("qwen2_audio", {"audio tower", "projector", "attention", "MLP"}),
        ("t5", {"encoder", "attention", "MLP"}),
        ("bert", {"embeddings", "attention", "MLP", "norms"}),
    ],
)
def test_kinds_of_families(name: str, kinds: set[str]):
    """Experts, recurrent layers, towers and encoders have lines of their own."""
    found = _parts(FACTS[name], "weights")
    assert kinds <= set(found)
    assert found.get("other weights", 0) < 0.01 * sum(found.values())


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("llama", {"full attention"}),
        ("deepseek_v3", {"latent attention (MLA)"}),
        ("gpt_oss", {"full attention", "sliding window of 128"}),
        ("deepseek_v4", {"compressed 1 to 4", "compressed 1 to 128", "sliding window of 128"}),
        ("t5", {"full attention", "cross-attention"}),
        ("bert", set()),
    ],
)
def test_the_cache_is_listed_by_kind_of_layer(name: str, labels: set[str]):
    """Full, sliding, latent, compressed and cross-attention have lines of their own."""
    assert set(_parts(FACTS[name], "KV cache")) == labels


def test_states_have_a_line_for_each_kind():
    """Recurrent layers of a hybrid are listed beside its keys and values."""
    assert set(_parts(FACTS["qwen3_next"], "recurrent state")) == {"state of linear attention"}


@pytest.mark.parametrize(
    ("layers", "pipeline", "engine", "sizes"),
    [
        (61, 8, "vllm", [7, 7, 8, 8, 8, 8, 8, 7]),
        (61, 8, "sglang", [7, 7, 7, 8, 8, 8, 8, 8]),
        (61, 4, "vllm", [15, 15, 16, 15]),
        (61, 4, "sglang", [15, 15, 15, 16]),
        (32, 4, "vllm", [8, 8, 8, 8]),
        (3, 2, "vllm", [2, 1]),
        (1, 3, "sglang", [0, 0, 1]),
    ],
)
def test_a_pipeline_shares_out_whole_layers(layers, pipeline, engine, sizes):
    """Every layer is on one stage; what is left over goes where the engine puts it."""
    found = stages(layers, pipeline, engine)
    assert [len(one) for one in found] == sizes
    assert [layer for one in found for layer in one] == list(range(layers))


@settings(deadline=None)
@given(st.sampled_from(["llama", "llama fp8", "deepseek_v3", "qwen3_next"]), st.integers(2, 6))
def test_stages_hold_the_model_together(name: str, pipeline: int):
    """All stages together hold each weight once, where head and embeddings are two."""
    model = FACTS[name]
    layers = stages(model.stack_layers, pipeline, "vllm")
    held = [
        weights_on(model, Split(pipeline=pipeline), Stage(number, pipeline, own))
        for number, own in enumerate(layers)
    ]
    assert sum(held) == pytest.approx(model.loaded_bytes, abs=len(model.parts) * pipeline)
    assert max(held) == weights_per_gpu(model, Split(pipeline=pipeline))


def test_the_largest_stage_counts():
    """Ten layers over four stages: three on one of them, and embeddings or head on the ends."""
    model, split = FACTS["llama"], Split(pipeline=4)
    layer = model.loaded_bytes - 2 * 2 * 32_000 * 1024 - 2 * 1024
    two_layers_and_head = layer // 10 * 2 + 2 * 32_000 * 1024 + 2 * 1024
    assert weights_per_gpu(model, split) == max(layer // 10 * 3, two_layers_and_head)
    tied = FACTS["llama tied"]
    assert weights_per_gpu(tied, split) == two_layers_and_head  # the last stage has a copy of them


def _line(
    what: str, served: Serving, model: ModelFacts = FACTS["llama"], card: float = 79.15
) -> Line:
    found = breakdown(model, Load(), Split(), card, served)
    return next(line for line in found.lines if line.what == what)


def test_cuda_graphs_have_a_line_of_their_own():
    """Graphs are counted by the sizes an engine captures, and are nothing where they are switched off."""
    assert _line("CUDA graphs", Serving("vllm")).bytes == 2 * 51 * 8 * 1024**2
    assert _line("CUDA graphs", Serving("vllm", max_requests=4)).bytes == 2 * 4 * 8 * 1024**2
    assert _line("CUDA graphs", Serving("sglang")).bytes == (2 * 256 + 8 * 58) * 1024**2
    assert _line("CUDA graphs", Serving("sglang"), FACTS["deepseek_v3"]).bytes == 2048 * 1024**2
    for engine in ("vllm", "sglang"):
        assert _line("CUDA graphs", Serving(engine, cuda_graphs=False)).bytes == 0
        usual, without = (
            breakdown(
                FACTS["llama"], Load(), Split(), 44.4, Serving(engine, cuda_graphs=on)
            ).used_bytes
            for on in (True, False)
        )
        assert without < usual


def test_one_key_value_head_is_no_latent():
    """SGLang's reserve for latent attention is for MLA, not for one head that all queries share."""
    one = model_facts(LLAMA | {"num_key_value_heads": 1})
    assert _line("CUDA graphs", Serving("sglang"), one).bytes == (2 * 256 + 8 * 58) * 1024**2


def test_a_declared_fraction_counts():
    """What an engine was told to take leaves the rest of the card alone."""
    assert _line("left alone", Serving("vllm", memory_fraction=0.5)).bytes == round(
        79.15 * 2**30 / 2
    )
    told = breakdown(FACTS["llama"], Load(), Split(), 79.15, Serving("sglang", memory_fraction=0.6))
    reserve = sum(line.bytes for line in told.lines if line.what not in {"weights", "KV cache"})
    assert reserve == pytest.approx(0.4 * told.total_bytes, rel=1e-6)


def test_sglang_leaves_room_for_reading_images():
    """A model with a vision tower leaves SGLang less of the card, as its own formula says."""
    tower = {"vision_config": {"num_hidden_layers": 27, "hidden_size": 1152}}
    images = _line(
        "reading images", Serving("sglang"), model_facts({"model_type": "gemma3", **tower})
    )
    factor = 0.95 * (1 - 0.1 * (27 * 1152**2 / (24 * 1024**2) - 1))
    assert images.bytes == round(round(79.15 * 2**30) * 0.828 * (1 - factor))
    assert not [
        line
        for line in breakdown(FACTS["llama"], Load(), Split(), 80, "sglang").lines
        if line.what == "reading images"
    ]


def test_another_release_than_the_formulas_is_said():
    """The release whose formula is known is said nothing of; another is named."""
    for engine, release in FORMULA_RELEASES.items():
        assert f"{engine_set(engine).version}.".startswith(f"{release}.")
        assert (
            Serving(engine, version=engine_set(engine).version).note == Serving(engine).note == ""
        )
    note = breakdown(FACTS["llama"], Load(), Split(), 80, Serving("vllm", version="0.330.0")).note
    assert "vLLM 0.33;" in note
    assert "vLLM 0.330.0 is declared" in note


@pytest.mark.parametrize("model_type", ["qwen2_5_omni", "qwen3_omni_moe"])
def test_what_speaks_is_left_in_the_files_by_engines_that_answer_in_text(model_type: str):
    """The talker and its vocoder are skipped by vLLM and SGLang and loaded by Transformers; no text passes them."""
    whole = model_facts({"model_type": model_type})
    silent = model_facts({"model_type": model_type, "enable_audio_output": False})
    assert silent.total_parameters < whole.total_parameters
    assert (whole.active_parameters, whole.lora_width) == (
        silent.active_parameters,
        silent.lora_width,
    )
    for engine in ("vllm", "sglang"):
        assert weights_per_gpu(whole, Split(), engine) == weights_per_gpu(silent, Split(), engine)
        lines = [breakdown(one, Load(), Split(), 79.15, engine).lines[0] for one in (whole, silent)]
        assert lines[0].formula == lines[1].formula
    assert weights_per_gpu(whole, Split(), "transformers") == whole.loaded_bytes
    assert weights_per_gpu(silent, Split(), "transformers") == silent.loaded_bytes
