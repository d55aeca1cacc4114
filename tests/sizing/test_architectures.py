"""Architecture files against transformers' own classes, at sizes of the test's own."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest

from modalkit.errors import SizingError
from modalkit.sizing.layouts import architecture, known_architectures, parameters
from modalkit.sizing.model import ModelFacts, model_facts
from modalkit.sizing.parts import Kind

SMALL = {"hidden_size": 512, "num_hidden_layers": 7, "vocab_size": 1000, "intermediate_size": 1536}
HEADS = {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64}
ALONE: list[tuple[str, dict[str, Any]]] = [
    ("llama", {**SMALL, **HEADS}),
    ("llama", {**SMALL, **HEADS, "tie_word_embeddings": True, "attention_bias": True}),
    ("qwen2", {**SMALL, "num_attention_heads": 8, "num_key_value_heads": 2}),
    ("qwen3_moe", {**SMALL, **HEADS, "num_experts": 16, "moe_intermediate_size": 128}),
    ("qwen3_next", {**SMALL, **HEADS, "num_hidden_layers": 8, "num_experts": 16}),
    ("gemma3_text", {**SMALL, **HEADS}),
    ("gpt_oss", {**SMALL, **HEADS, "num_local_experts": 8}),
    ("deepseek_v3", {**SMALL, "first_k_dense_replace": 2, "n_routed_experts": 16, "n_group": 4}),
    ("deepseek_v2", {**SMALL, "first_k_dense_replace": 1, "n_routed_experts": 16, "n_group": 4}),
    (
        "dots1",
        {
            **SMALL,
            **HEADS,
            "first_k_dense_replace": 3,
            "n_routed_experts": 16,
            "n_shared_experts": 1,
        },
    ),
    (
        "nemotron_h",
        {"hidden_size": 512, "hybrid_override_pattern": "M-M*ME", "num_hidden_layers": 6},
    ),
    ("mamba2", {"hidden_size": 512, "num_hidden_layers": 5, "num_heads": 16}),
    ("gpt2", {"n_embd": 512, "n_layer": 5, "n_head": 8}),
    ("modernbert", {**SMALL, "num_attention_heads": 8, "vocab_size": 60_000}),
    ("whisper", {"d_model": 384, "encoder_layers": 3, "decoder_layers": 5}),
    ("t5", {"d_model": 256, "num_layers": 3, "num_decoder_layers": 4}),
    ("bart", {"d_model": 256, "encoder_layers": 3, "decoder_layers": 4}),
    ("lfm2", {**SMALL, "num_attention_heads": 8, "full_attn_idxs": [2, 5]}),
    ("lfm2", {**SMALL, "num_attention_heads": 8, "block_auto_adjust_ff_dim": False}),
    ("falcon_mamba", {"hidden_size": 512, "num_hidden_layers": 3, "intermediate_size": 1024}),
    ("laguna", {**SMALL, "num_attention_heads_per_layer": [8, 8, 16, 8, 4, 8, 8]}),
    ("marian", {"d_model": 256, "encoder_layers": 3, "decoder_layers": 2, "pad_token_id": 0}),
    ("granite_speech", {"encoder_config": {"num_layers": 3, "hidden_dim": 512, "num_heads": 4}}),
    ("blip-2", {"num_query_tokens": 16}),
    ("gte", {**SMALL, "num_attention_heads": 8}),
    ("longformer", {**SMALL, "num_attention_heads": 8}),
    ("esm", {**SMALL, "num_attention_heads": 8}),
    ("vit", {**SMALL, "num_attention_heads": 8}),
    ("dinov2", {"hidden_size": 512, "num_hidden_layers": 5, "num_attention_heads": 8}),
    ("siglip_vision_model", {**SMALL, "num_attention_heads": 8}),
    ("clip_text_model", {**SMALL, "num_attention_heads": 8}),
    ("embedding_gemma2", {"projection_dim": 256}),
    ("deit", {**SMALL, "num_attention_heads": 8}),
    ("dinov2_with_registers", {"hidden_size": 512, "num_hidden_layers": 5}),
    ("sam", {}),
    ("swin", {}),
    ("clap", {}),
    ("modernvbert", {}),
    (
        "dbrx",
        {"d_model": 512, "n_heads": 8, "n_layers": 5, "attn_config": {"rope_theta": 1e4}}
        | {"ffn_config": {"ffn_hidden_size": 256, "moe_num_experts": 6, "moe_top_k": 2}},
    ),
    ("t5gemma", {"encoder": {"num_hidden_layers": 3}, "decoder": {"num_hidden_layers": 5}}),
    ("nllb-moe", {"d_model": 256, "num_experts": 6, "encoder_layers": 8, "decoder_layers": 4}),
    ("nllb-moe", {"d_model": 256, "num_experts": 4, "decoder_sparse_step": 2}),
    ("wav2vec2", {**SMALL, "num_attention_heads": 8}),
    ("wav2vec2", {**SMALL, "num_attention_heads": 8, "conv_bias": True}),
    ("hubert", {**SMALL, "num_attention_heads": 8}),
    ("wavlm", {**SMALL, "num_attention_heads": 8}),
    ("janus", {"vision_config": {"num_hidden_layers": 3}}),
    ("csm", {**SMALL, **HEADS, "num_codebooks": 8}),
    ("chameleon", {**SMALL, "num_attention_heads": 8, "vocabulary_map": {"<image>": 900}}),
    ("qwen3_omni_moe_thinker", {"text_config": {**SMALL, **HEADS, "num_experts": 4}}),
    ("qwen2_5_omni", {"thinker_config": {"text_config": {"num_hidden_layers": 3}}}),
]
COMPOSED = [
    ("llava", "qwen2"),
    ("mistral3", "ministral3"),
    ("internvl", "gpt_oss"),
    ("llava_next", "gemma"),
    ("llava_onevision", "qwen3_moe"),
    ("kimi_k25", "deepseek_v3"),
]
TOWERS = [
    ("llava", "pixtral"),
    ("llava", "siglip_vision_model"),
    ("llava_next", "siglip_vision_model"),
    ("llava_onevision", "clip_vision_model"),
    ("mistral3", "siglip_vision_model"),
]


def _real_count(config) -> int:
    """Build the real class on the meta device and count it."""
    import torch
    from transformers.models.auto import modeling_auto

    decoders = (
        modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING,
        modeling_auto.MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING,
    )
    both = (
        modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
        modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    )
    kinds = both if config.is_encoder_decoder else decoders
    for mapping in (*kinds, modeling_auto.MODEL_MAPPING):
        if type(config) in mapping:
            with torch.device("meta"), warnings.catch_warnings(action="ignore"):
                return sum(one.numel() for one in mapping[type(config)](config).parameters())
    raise AssertionError(config.model_type)


def _config(model_type: str, **settings: Any):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return CONFIG_MAPPING[model_type](**settings)


@pytest.mark.parametrize(("model_type", "settings"), ALONE, ids=lambda one: str(one)[:40])
def test_every_parameter_is_counted(model_type: str, settings: dict[str, Any]):
    """The count from the config alone is the real class's, to the last parameter."""
    config = _config(model_type, **settings)
    assert model_facts(config.to_dict()).total_parameters == _real_count(config)


@pytest.mark.parametrize(("outer", "text"), COMPOSED)
def test_any_text_model_inside_another(outer: str, text: str):
    """A tower around a text model that it was not read with is counted to the last parameter too."""
    config = _config(outer, text_config=_config(text).to_dict())
    assert model_facts(config.to_dict()).total_parameters == _real_count(config)


@pytest.mark.parametrize(("outer", "tower"), TOWERS)
def test_any_tower_before_a_text_model(outer: str, tower: str):
    """A tower other than the one that an architecture was read with is counted to the last parameter."""
    vision = _config(tower, hidden_size=512, num_attention_heads=8).to_dict()
    config = _config(outer, vision_config=vision)
    found = model_facts(config.to_dict())
    assert found.total_parameters == _real_count(config)
    assert any(part.kind is Kind.VISION for part in found.parts)


@pytest.mark.parametrize(
    ("config", "tied"),
    [
        ({}, False),
        ({"tie_word_embeddings": True}, True),
        ({"text_config": {"tie_word_embeddings": True}}, True),
        ({"text_config": {"tie_word_embeddings": True}, "tie_word_embeddings": False}, False),
    ],
)
def test_a_nested_model_says_whether_its_head_is_tied(config: dict[str, Any], tied: bool):
    """Where the whole config does not say, its text model does, in words or by its own default."""
    found = model_facts({"model_type": "mistral3", **config})
    assert any(part.kind is Kind.HEAD for part in found.parts) is not tied


@pytest.mark.parametrize("model_type", ["t5", "mt5", "umt5"])
def test_an_output_head_of_its_own_is_counted_as_the_config_says(model_type: str):
    """T5 1.1 and its kin store a head beside the embedding; their class ties the two whatever a config says."""
    tied, own = (
        model_facts({"model_type": model_type, "tie_word_embeddings": one}) for one in (True, False)
    )
    assert tied.total_parameters == model_facts({"model_type": model_type}).total_parameters
    head = own.vocab_size * own.hidden_size
    assert own.total_parameters == tied.total_parameters + head > tied.total_parameters


def test_experts_that_pass_their_input_on_have_no_weights():
    """LongCat-Flash has 560B parameters; its 256 identity experts have a place in the router alone."""
    found = model_facts({"model_type": "longcat_flash"})
    assert found.total_parameters == pytest.approx(560e9, rel=0.01)
    assert found.experts == 512
    fewer = model_facts({"model_type": "longcat_flash", "zero_expert_num": 128})
    assert found.total_parameters - fewer.total_parameters < 100e6


def test_a_heads_width_follows_the_models_where_a_config_leaves_it_out():
    """Nemotron-4 340B says no ``head_dim``: its heads are 18,432 / 96 wide."""
    sizes = {"hidden_size": 18432, "num_hidden_layers": 96, "num_attention_heads": 96}
    sizes |= {"num_key_value_heads": 8, "intermediate_size": 73728}
    found = model_facts({"model_type": "nemotron", **sizes})
    assert found.total_parameters == pytest.approx(341e9, rel=0.005)
    assert found.kv_bytes_per_token() == 96 * 2 * 8 * 192 * 2
    stated = model_facts({"model_type": "nemotron", **sizes, "head_dim": 128})
    assert stated.kv_bytes_per_token() == 96 * 2 * 8 * 128 * 2


OMNI_TEXT = {"hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32}
OMNI_TEXT |= {"num_key_value_heads": 4, "head_dim": 128, "vocab_size": 152064}


@pytest.mark.parametrize("inside", [False, True], ids=["thinker", "whole"])
def test_heads_of_qwen3_omni_are_as_wide_as_its_config_says(inside: bool):
    """Its class reads a ``head_dim`` that its default config has not: the 30B keeps 98,304 bytes a token."""

    def sized(text: dict[str, Any]) -> ModelFacts:
        thinker = {"model_type": "qwen3_omni_moe_thinker", "text_config": text}
        whole = {"model_type": "qwen3_omni_moe", "thinker_config": thinker}
        return model_facts(whole if inside else thinker)

    found = sized(OMNI_TEXT)
    assert found.kv_bytes_per_token() == 48 * 2 * 4 * 128 * 2
    assert found.kv_heads == 4
    divided = sized({name: size for name, size in OMNI_TEXT.items() if name != "head_dim"})
    assert divided.kv_bytes_per_token() == 48 * 2 * 4 * 64 * 2
    wider = 48 * (2 * 64 * (32 + 4) * 2048 + 2 * 64)  # four maps, and the norms of queries and keys
    assert found.total_parameters - divided.total_parameters == wider


def test_a_nested_class_without_a_name_goes_by_its_owners():
    """Qwen3-Omni's talker calls itself by its owner's name and a word; another model's name is refused."""
    usual = model_facts({"model_type": "qwen3_omni_moe"}).total_parameters
    named = {
        "model_type": "qwen3_omni_moe",
        "talker_config": {"model_type": "qwen3_omni_moe_talker"},
    }
    assert model_facts(named).total_parameters == usual
    with pytest.raises(SizingError, match="talker_config"):
        model_facts(named | {"talker_config": {"model_type": "csm"}})


def test_the_name_of_a_feed_forward_says_whether_it_is_gated():
    """T5 1.1's configs say it in the name alone, and have half as much again in each feed-forward."""
    plain = model_facts({"model_type": "t5", "feed_forward_proj": "relu"})
    gated = model_facts({"model_type": "t5", "feed_forward_proj": "gated-gelu"})
    assert gated.total_parameters - plain.total_parameters == 12 * 512 * 2048


@pytest.mark.parametrize("model_type", sorted(known_architectures()))
def test_another_figure_than_an_architecture_was_read_with_is_refused(model_type: str):
    """Where layers follow no rule, the figures they are made of are held to what they were."""
    for name, usual in architecture(model_type).get("pinned", {}).items():
        config: dict[str, Any] = {"model_type": model_type}
        *folders, last = name.split(".")
        place = config
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = [*usual, 7] if isinstance(usual, list) else usual + 1
        with pytest.raises(SizingError, match=f"{re.escape(repr(name))} is .* only"):
            model_facts(config)


def test_a_pinned_figure_may_be_written_as_a_whole_float():
    """JSON may write 512 as ``512.0``, alone or in a list; a half more is another figure."""
    layout: dict[str, Any] = {"pinned": {"width": 512, "kernels": [3, 5]}, "rows": []}
    layout["model_type"] = "some"
    assert not list(parameters(layout, {"width": 512.0, "kernels": [3.0, 5]}))
    for other in ({"width": 512.5}, {"width": "512.0"}, {"kernels": [3.0, 5.5]}):
        with pytest.raises(SizingError, match="only"):
            list(parameters(layout, other))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "made_up"}, "made_up"),
        ({}, "model_type"),
        ({"model_type": "llava", "vision_config": {"model_type": "made_up"}}, "made_up"),
        ({"model_type": "llava", "text_config": {"model_type": "made_up"}}, "made_up"),
        (
            {"model_type": "qwen3_next", "num_hidden_layers": 2, "layer_types": ["odd", "odd"]},
            "odd",
        ),
        ({"model_type": "llama", "hidden_size": "wide"}, "hidden_size"),
        ({"model_type": "llama", "quantization_config": {"quant_method": "made-up"}}, "made-up"),
        ({"model_type": "llama", "dtype": "float4"}, "float4"),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "MZ*"}, "'Z'"),
        ({"model_type": "exaone4", "sliding_window_pattern": "LXG"}, "'X'"),
        ({"model_type": "deepseek_v4", "compress_ratios": [7]}, "kind 7"),
    ],
)
def test_what_is_not_known_is_refused_by_name(config: dict[str, Any], named: str):
    """Nothing is guessed: an unknown architecture, layer, tower or format is named, with the way out."""
    with pytest.raises(SizingError, match=named) as refused:
        model_facts(config)
    assert "ModelFacts(" in str(refused.value) or not config.get("model_type")


# The published configs of models that no list of ours has, and the sizes on their cards.
PUBLISHED = [
    (
        15_706_484_224,
        {"model_type": "deepseek_v2", "hidden_size": 2048, "num_hidden_layers": 27}
        | {"num_attention_heads": 16, "intermediate_size": 10944, "moe_intermediate_size": 1408}
        | {"n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6}
        | {"first_k_dense_replace": 1, "kv_lora_rank": 512, "q_lora_rank": None}
        | {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
        | {"vocab_size": 102400},
    ),
    (
        142_774_373_888,
        {"model_type": "dots1", "hidden_size": 4096, "num_hidden_layers": 62}
        | {"num_attention_heads": 32, "num_key_value_heads": 32, "intermediate_size": 10944}
        | {"moe_intermediate_size": 1408, "n_routed_experts": 128, "n_shared_experts": 2}
        | {"num_experts_per_tok": 6, "first_k_dense_replace": 1, "vocab_size": 152064},
    ),
]


@pytest.mark.parametrize(
    ("total", "config"), PUBLISHED, ids=[one["model_type"] for _, one in PUBLISHED]
)
def test_dense_layers_before_sparse_ones_are_counted_as_such(total: int, config: dict[str, Any]):
    """Where the class's default has no dense layer, a checkpoint's own are not taken for sparse ones."""
    assert model_facts(config | {"torch_dtype": "bfloat16"}).total_parameters == total


def test_every_file_can_be_read():
    """Every architecture sizes its own default config, but for those whose defaults are no model."""
    refused = {}
    for model_type in sorted(known_architectures()):
        try:
            assert model_facts({"model_type": model_type}).total_parameters > 0
        except SizingError as error:
            refused[model_type] = str(error)
    assert len(refused) < len(known_architectures()) // 8, refused
