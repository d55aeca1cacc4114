"""The share of a card that makes room: what sizing proposes holds, and less of it would not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modalkit.sizing.fit import examine, picks
from modalkit.sizing.memory import Load, Serving, Split, breakdown
from modalkit.sizing.model import GIB, model_facts
from modalkit.sizing.report import parse_choice, size

QWEN3_VL_32B = {
    "model_type": "qwen3_vl",
    "dtype": "bfloat16",
    "text_config": {
        "hidden_size": 5120, "num_hidden_layers": 64, "num_attention_heads": 64,
        "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 25600,
        "vocab_size": 151936, "max_position_embeddings": 262144, "tie_word_embeddings": False,
    },
    "tie_word_embeddings": False,
}  # fmt: skip
ONE = Load(2048, 1)
H100 = parse_choice("H100")


def at(fraction: float | None, engine: str = "sglang") -> Serving:
    """An engine that was told a share, or none."""
    return Serving("sglang" if engine == "sglang" else "vllm", memory_fraction=fraction)


def test_sglang_is_told_more_where_its_own_share_keeps_a_model_out():
    """SGLang takes less of the card for a model that reads images; the message says what to write."""
    model = model_facts(QWEN3_VL_32B, name="vl")
    short = examine(model, ONE, "sglang", H100)
    assert short.memory_fraction == 0.81
    assert short.problem.endswith("; memory_fraction=0.81 (--mem-fraction-static) makes room")
    assert examine(model, ONE, at(0.81), H100).problem == ""
    assert "makes room" in examine(model, ONE, at(0.80), H100).problem
    fits = examine(model, ONE, "vllm", H100)
    assert (fits.problem, fits.memory_fraction) == ("", None)


def test_nothing_is_proposed_for_what_no_share_makes_fit():
    """109 GB of weights on 80 GB, what leaves nothing outside, a card without the units: no share is named."""
    scout = model_facts({"model_type": "llama4", "quantization_config": {"quant_method": "fp8"}})
    large = examine(scout, ONE, "vllm", H100)
    assert large.problem.startswith("short of")
    assert large.memory_fraction is None
    model = model_facts(QWEN3_VL_32B)
    longest = examine(model, Load(60_000, 1), "sglang", H100)
    assert longest.breakdown.free_bytes < 0
    assert longest.memory_fraction is None
    old = examine(model, ONE, "vllm", parse_choice("T4"))
    assert "compute capability" in old.problem
    assert old.memory_fraction is None
    assert all(one.memory_fraction is None for one in picks(model, ONE, "transformers"))


def test_the_json_of_a_size_has_the_share():
    """``memory_fraction`` stands beside the problem of the card that was asked about, and of each passed over."""
    found = size(model_facts(QWEN3_VL_32B), ONE, engine="sglang", gpu="H100").to_json()
    assert found["memory_fraction"] == 0.81
    rejected = found["rejected"]
    assert isinstance(rejected, list)
    shares = {row["gpu"]: row["memory_fraction"] for row in rejected if row["count"] == 1}
    assert shares["L40S"] is None
    assert shares["A100-80GB"] == 0.81


def test_sglang_keeps_room_for_image_features():
    """Embeddings of images take 100 MiB of the cache's share, a pool 1 GiB where SGLang makes one."""
    told = replace(at(0.8), cuda_graphs=False)
    kinds = {"qwen3_vl": GIB, "gemma3": 100 * 1024**2, "qwen3": 0}
    for kind, expected in kinds.items():
        lines = breakdown(model_facts({"model_type": kind}), ONE, Split(), 139.8, told).lines
        assert sum(one.bytes for one in lines if one.what == "image features") == expected
    small = breakdown(model_facts({"model_type": "qwen3_vl"}), ONE, Split(), 44.4, told).lines
    assert [one.bytes for one in small if one.what == "image features"] == [100 * 1024**2]


@pytest.mark.parametrize(("engine", "flag"), [("vllm", "--gpu-memory-utilization"), ("sglang", "--mem-fraction-static"), ("transformers", "")])  # fmt: skip
def test_an_engines_option_for_its_share(engine, flag):
    """Each engine has its own name for the share; Transformers has none."""
    assert Serving(engine).fraction_flag == flag
