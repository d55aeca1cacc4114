"""Configs of classes that come with their model: what the known class has no place for is refused, not left out."""

from __future__ import annotations

from typing import Any

import pytest

from modalkit.errors import SizingError
from modalkit.sizing.model import model_facts
from modalkit.sizing.remote_code import ALIASES

WITH_TOWERS = {"internvl", "kimi_k25", "qwen2_5_vl"}  # the known classes that see

WIDTHS: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2}
WIDTHS |= {"num_attention_heads": 4, "vocab_size": 1000}

QWEN = {"model_type": "qwen", "hidden_size": 4096, "intermediate_size": 22016}
QWEN |= {"num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 151936}


@pytest.mark.parametrize("name", ["visual", "audio"])
def test_a_tower_beside_qwen_is_refused(name: str):
    """Qwen-VL and Qwen-Audio call themselves ``qwen``: the text model alone is sized, with a tower none is."""
    assert model_facts(QWEN | {name: None}).total_parameters == 7_721_324_544  # Qwen-7B
    with pytest.raises(SizingError, match=rf"'qwen' has a tower \(under '{name}'\)") as refused:
        model_facts(QWEN | {name: {"width": 1664, "layers": 48}})
    assert "ModelFacts(" in str(refused.value)


@pytest.mark.parametrize("model_type", ["minicpm", "xverse", "internlm", "solar", "orion", "mimo"])
@pytest.mark.parametrize("name", ["num_experts", "n_routed_experts", "num_local_experts"])
def test_experts_of_a_dense_class_are_refused(model_type: str, name: str):
    """A model of the same type with experts is named as such; one that counts none is dense."""
    config = {"model_type": model_type, **WIDTHS}
    dense = model_facts(config).total_parameters
    assert model_facts(config | {name: 0}).total_parameters == dense
    assert model_facts(config | {name: None}).total_parameters == dense
    with pytest.raises(SizingError, match=rf"'{model_type}' has experts \('{name}' is 8\)"):
        model_facts(config | {name: 8})


@pytest.mark.parametrize(
    "model_type", sorted(name for name, known in ALIASES.items() if known not in WITH_TOWERS)
)
def test_no_class_without_a_tower_takes_one(model_type: str):
    """Whichever class a model type stands for, a tower beside it is refused before anything is read."""
    with pytest.raises(SizingError, match=rf"'{model_type}'.* tower"):
        model_facts({"model_type": model_type, "vision_config": {"hidden_size": 8}})


DEEPSEEK = {"model_type": "deepseek", "hidden_size": 2048, "num_hidden_layers": 28}
DEEPSEEK |= {"num_attention_heads": 16, "intermediate_size": 10944, "vocab_size": 102400}


@pytest.mark.parametrize("said", [{}, {"n_routed_experts": None}, {"n_routed_experts": 0}])
def test_a_deepseek_that_counts_no_experts_is_dense(said: dict[str, Any]):
    """Its class has dense layers where no experts are counted; none are taken from another class."""
    attention, forward = 4 * 2048 * 2048, 3 * 2048 * 10944
    layers = 28 * (attention + forward + 2 * 2048)
    found = model_facts(DEEPSEEK | said)
    assert found.total_parameters == layers + 2 * 102400 * 2048 + 2048
    assert found.active_parameters == found.total_parameters
    assert found.experts == 0


def test_a_ling_that_counts_no_experts_is_refused():
    """Its class has a number of its own where the config has none, which is not known here."""
    with pytest.raises(SizingError, match=r"'bailing_moe' does not say .* write 'num_experts'"):
        model_facts(DEEPSEEK | {"model_type": "bailing_moe"})
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
    assert model_facts(DEEPSEEK | {"model_type": "bailing_moe"} | experts).experts == 4


def test_layers_that_nobody_sizes_are_refused():
    """A Nemotron-NAS without its ``block_configs`` is no Llama with layers alike."""
    with pytest.raises(SizingError, match="must have its 'block_configs'"):
        model_facts({"model_type": "nemotron-nas", **WIDTHS})
