"""Sizing against what is published of models that no other list here has, by their own configs.

``published.json`` has the config of each, as far as it says sizes, and the parameters that its page on the
hub gives; a few of those count buffers or the scales of quantised weights too. Both were written down from
what is known of these pages, without a stored copy: a count that a config's own arithmetic meets to the
hundredth of a percent is no accident, but a figure here is no source for another.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modalkit.errors import SizingError
from modalkit.sizing.mistral_format import as_config
from modalkit.sizing.model import ModelFacts, model_facts, read_model

MODELS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("published.json").read_text())


def sized(model: dict[str, Any]) -> ModelFacts:
    """Size a listed model, by its config or by Mistral's own words."""
    config = as_config(model["params"]) if "params" in model else model["config"]
    return model_facts(config, name=model["id"])


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one["id"])
def test_a_published_model_has_the_parameters_of_its_page(model: dict[str, Any]):
    """A real config alone gives the published count within a hundredth of a percent."""
    assert sized(model).total_parameters == pytest.approx(model["parameters"], rel=1e-4)


@pytest.mark.parametrize(
    "model", [one for one in MODELS if "kv_bytes_per_token" in one], ids=lambda one: one["id"]
)
def test_a_published_model_keeps_what_its_attention_says(model: dict[str, Any]):
    """Keys and values of a token in 16 bit are those of the published heads and layers."""
    assert sized(model).kv_bytes_per_token() == model["kv_bytes_per_token"]


ACTIVE = [
    ("databricks/dbrx-instruct", 36e9),
    ("tencent/Hunyuan-A13B", 13e9),
    ("mistralai/Mixtral-8x22B", 39e9),
    ("inclusionAI/Ling-mini-2.0", 1.4e9),
    ("Qwen/Qwen3-Coder-480B-A35B", 35e9),
    ("MiniMaxAI/MiniMax-Text-01", 45.9e9 + 2 * 200_064 * 6144),  # its page leaves out embeddings
    ("moonshotai/Kimi-K2-Instruct", 32e9),
]


@pytest.mark.parametrize(("name", "active"), ACTIVE)
def test_a_published_model_uses_as_many_parameters_as_its_page_says(name: str, active: float):
    """The parameters that a token passes through are those on the card, as far as it rounds them."""
    model = next(one for one in MODELS if one["id"] == name)
    assert sized(model).active_parameters == pytest.approx(active, rel=0.05)


def test_a_folder_with_mistrals_own_file_is_sized(tmp_path: Path):
    """A repository that has only a params.json is sized by it; beside a config.json it is not read."""
    model = next(one for one in MODELS if "params" in one)
    (tmp_path / "params.json").write_text(json.dumps(model["params"]))
    found = read_model(tmp_path)
    assert found.total_parameters == pytest.approx(model["parameters"], rel=1e-4)
    config = {"model_type": "llama", "num_hidden_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_model(tmp_path).model_type == "llama"


LATENT = {"dim": 7168, "n_layers": 61, "n_heads": 128, "n_kv_heads": 128, "hidden_dim": 16384}
LATENT |= {"vocab_size": 131072, "q_lora_rank": 1536, "kv_lora_rank": 512, "v_head_dim": 128}
LATENT |= {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64}


def test_a_mistral_with_latent_attention_is_a_deepseek():
    """Mistral Large 3's params.json, experts and latents, keeps one latent a token."""
    experts = {"num_experts": 128, "num_experts_per_tok": 4, "first_k_dense_replace": 3}
    experts |= {"expert_hidden_dim": 4096, "num_shared_experts": 1}
    found = model_facts(as_config({**LATENT, "moe": experts}))
    assert found.kv_bytes_per_token() == 61 * 576 * 2
    assert found.total_parameters == pytest.approx(673e9, rel=0.01)  # without its tower
    assert found.active_parameters == pytest.approx(39e9, rel=0.05)


def test_a_mistral_in_eight_bit_has_half_the_bytes():
    """The quantisation of a params.json is read: fp8 with one scale a tensor."""
    plain = next(one for one in MODELS if "Small-3.1" in one["id"] and "params" in one)["params"]
    whole = model_facts(as_config(plain))
    eight = model_facts(as_config({**plain, "quantization": {"qformat_weight": "fp8_e4m3"}}))
    assert eight.quantization == "fp8"
    assert eight.weight_bytes < 0.6 * whole.weight_bytes


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "chatglm", "num_layers": 28}, "padded_vocab_size"),
        (
            {"model_type": "internvl_chat", "vision_config": {"image_size": 224}, "llm_config": {}},
            "448 pixels",
        ),
        (
            {"model_type": "deepseek", "num_attention_heads": 16, "hidden_size": 2048}
            | {"moe_layer_freq": 2},
            "dense layer among",
        ),
        ({"model_type": "exaone", "num_layers": "many"}, "num_hidden_layers"),
        ({"model_type": "qwen"}, "intermediate_size"),
    ],
)
def test_remote_code_of_another_layout_is_refused(config: dict[str, Any], named: str):
    """A config that its model type's usual layout does not explain is refused with what it lacks."""
    with pytest.raises(SizingError, match=named) as refused:
        model_facts(config)
    assert "ModelFacts(" in str(refused.value)


@pytest.mark.parametrize("lacking", ["dim", "n_layers", "vocab_size"])
def test_a_file_of_other_params_is_refused(lacking: str):
    """A params.json that is not Mistral's is refused with the field it lacks."""
    params = {name: value for name, value in LATENT.items() if name != lacking}
    with pytest.raises(SizingError, match=f"lacks '{lacking}'"):
        as_config(params)
