"""Architectures that transformers has no class for: what is written down of them, and what their pages say.

Where a page gives the count to the parameter, it is in ``published.json``; the cards below round.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from modalkit.errors import SizingError
from modalkit.sizing.cache_layer import Keeps
from modalkit.sizing.memory import Load, Split, breakdown
from modalkit.sizing.model import model_facts
from modalkit.sizing.parts import Kind
from modalkit.sizing.report import size

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

TEXT = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
TEXT |= {"num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256}
LLAMA = {"model_type": "llama", **TEXT}
NANO = {"model_type": "nemotron_h", "hidden_size": 5120, "num_hidden_layers": 62}
NANO |= {"hybrid_override_pattern": "M-M-M-M*-" * 6 + "M-M-M-M-", "intermediate_size": 20480}
NANO |= {"mamba_num_heads": 128, "mamba_head_dim": 80, "n_groups": 8, "ssm_state_size": 128}
NANO |= {"num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128}
NANO |= {"vocab_size": 131072, "tie_word_embeddings": False}
RADIO = {"args": {"model": "vit_huge_patch16_224", "cpe_max_size": 2048}, "patch_size": 16}
GROK_2 = {"model_type": "git", "architectures": ["Grok1ForCausalLM"], "hidden_size": 8192}
GROK_2 |= {"num_hidden_layers": 64, "num_attention_heads": 64, "intermediate_size": 32768}
GROK_2 |= {"moe_intermediate_size": 16384, "residual_moe": True, "vocab_size": 131072}
DELTA = {"head_dim": 128, "num_heads": 96, "short_conv_kernel_size": 4, "use_full_rank_gate": True}
DELTA |= {"full_attn_layers": [*range(4, 93, 4), 93]}
K3_TEXT = {"hidden_size": 7168, "num_hidden_layers": 93, "num_attention_heads": 96}
K3_TEXT |= {"intermediate_size": 33792, "moe_intermediate_size": 3072, "num_experts": 896}
K3_TEXT |= {"num_experts_per_token": 16, "num_shared_experts": 1, "first_k_dense_replace": 1}
K3_TEXT |= {"kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64, "v_head_dim": 128}
K3_TEXT |= {"qk_nope_head_dim": 128, "routed_expert_hidden_size": 3584, "vocab_size": 163840}
K3 = {"model_type": "kimi_k3", "text_config": {**K3_TEXT, "linear_attn_config": DELTA}}
SMALL_DEEPSEEK = {"hidden_size": 1280, "num_hidden_layers": 12, "num_attention_heads": 10}
SMALL_DEEPSEEK |= {"num_key_value_heads": 10, "intermediate_size": 6848, "vocab_size": 129280}
SMALL_DEEPSEEK |= {"moe_intermediate_size": 896, "n_routed_experts": 64, "n_shared_experts": 2}
SMALL_DEEPSEEK |= {"num_experts_per_tok": 6, "first_k_dense_replace": 1, "use_mla": False}
VL2_TOWER = {"model_name": "siglip_so400m_patch14_384", "width": 1152, "layers": 27}
VL2 = {"model_type": "deepseek_vl_v2", "language_config": SMALL_DEEPSEEK}
VL2 |= {"vision_config": VL2_TOWER, "projector_config": {"n_embed": 1280}}
STEP3_TEXT = {"model_type": "step3_text", "moe_layers_enum": ",".join(map(str, range(4, 60)))}
QWEN_7B = {"model_type": "qwen2", "hidden_size": 3584, "num_hidden_layers": 28}
QWEN_7B |= {"num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18944}
QWEN_7B |= {"vocab_size": 152064, "tie_word_embeddings": False}
QWEN_8B = {"hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32}
QWEN_8B |= {"num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 12288}
QWEN_8B |= {"vocab_size": 151936, "tie_word_embeddings": False, "model_type": "qwen3"}
AIM = {"model_type": "aimv2", "hidden_size": 1536, "num_hidden_layers": 24}
AIM |= {"intermediate_size": 4096, "patch_size": 14, "image_size": 448}
OVIS_2 = {"model_type": "ovis", "llm_config": QWEN_7B, "hidden_size": 3584}
OVIS_2 |= {"visual_tokenizer_config": {"backbone_config": AIM, "hidden_stride": 2}}
OVIS_2_5 = {"model_type": "ovis2_5", "llm_config": QWEN_8B, "vit_config": {"hidden_stride": 2}}
VICUNA = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
VICUNA |= {"num_key_value_heads": 32, "intermediate_size": 11008, "vocab_size": 32000}
CLIP = {"mm_vision_tower": "openai/clip-vit-large-patch14-336"}
LLAVA = {"model_type": "llava_llama", **VICUNA, **CLIP, "mm_projector_type": "mlp2x_gelu"}
LLAVA |= {"mm_patch_merge_type": "spatial_unpad"}
GLM_4V = {"model_type": "chatglm", "num_layers": 40, "ffn_hidden_size": 13696}
GLM_4V |= {"padded_vocab_size": 151552, "num_attention_heads": 32, "hidden_size": 4096}
GLM_4V |= {"multi_query_attention": True, "multi_query_group_num": 2, "add_qkv_bias": True}
GLM_4V |= {"vision_config": {"hidden_size": 1792, "num_positions": 6401}}
KEYE = {**QWEN_8B, "model_type": "Keye", "vision_config": {"hidden_size": 1152}}
JINA = {"model_type": "bert", "architectures": ["JinaBertForMaskedLM"], "vocab_size": 30528}

CARDS: list[tuple[str, dict[str, Any], float, float]] = [
    ("xai-org/grok-2", GROK_2, 270e9, 115e9),
    ("hpcai-tech/grok-1", {"model_type": "grok-1", "num_experts": 8}, 316e9, 86e9),
    ("stepfun-ai/step3", {"model_type": "step3_vl", "text_config": STEP3_TEXT}, 321e9, 38e9),
    ("moonshotai/Kimi-K3", K3, 2.8e12, 100e9),
    ("deepseek-ai/deepseek-vl2-tiny", VL2, 3.37e9, 0.74e9),
    ("AIDC-AI/Ovis2-8B", OVIS_2, 8.94e9, 7.62e9),
    ("AIDC-AI/Ovis2.5-9B", OVIS_2_5, 9.17e9, 8.19e9),
    ("liuhaotian/llava-v1.6-vicuna-7b", LLAVA, 7.06e9, 6.74e9),
    ("THUDM/glm-4v-9b", GLM_4V, 13.9e9, 9.4e9),
    ("Kwai-Keye/Keye-VL-8B-Preview", KEYE, 8.7e9, 8.19e9),
    ("jinaai/jina-embeddings-v2-base-en", JINA, 137e6, 137e6),
    ("jinaai/jina-embeddings-v2-base-de", {**JINA, "vocab_size": 61056}, 161e6, 161e6),
]


@pytest.mark.parametrize(
    ("config", "total", "active"), [one[1:] for one in CARDS], ids=[one[0] for one in CARDS]
)
def test_a_served_model_is_as_large_as_its_card_says(
    config: dict[str, Any], total: float, active: float
):
    """Parameters, and those a token passes through, are those on the card as far as it rounds them."""
    found = model_facts(config)
    assert found.total_parameters == pytest.approx(total, rel=0.012)
    assert found.active_parameters == pytest.approx(active, rel=0.03)


def test_a_nemotron_that_sees_has_the_bytes_of_its_files():
    """Nemotron Nano 12B v2 VL has 24.55 GiB of files: Nemotron-H, C-RADIO and what joins them."""
    config = {"model_type": "NemotronH_Nano_VL_V2", "llm_config": NANO, "vision_config": RADIO}
    found = model_facts(config | {"torch_dtype": "bfloat16"})
    assert found.weight_bytes / 2**30 == pytest.approx(24.55, rel=0.001)
    assert found.active_parameters == model_facts(NANO).total_parameters
    assert found.kv_bytes_per_token() == 6 * 2 * 8 * 128 * 2
    assert found.state_bytes_per_sequence == model_facts(NANO).state_bytes_per_sequence


def test_summary_tokens_of_a_radio_tower_are_counted():
    """One for each teacher and registers up to the next multiple, or a single one."""
    config = {"model_type": "Llama_Nemotron_Nano_VL", "llm_config": LLAMA}
    teachers = {"teachers": [{"name": name} for name in "abcc"], "cls_token_per_teacher": True}
    one = model_facts(config | {"vision_config": RADIO}).total_parameters
    arguments = {**RADIO["args"], **teachers, "register_multiple": 16}  # type: ignore[dict-item]  # a mapping
    many = model_facts(config | {"vision_config": {**RADIO, "args": arguments}}).total_parameters
    assert many - one == 15 * 1280


def test_kimi_k3_keeps_latents_and_states():
    """24 of its 93 layers keep a latent, the others a matrix for each head and three inputs of a convolution."""
    found = model_facts(K3)
    assert found.kv_bytes_per_token() == 24 * (512 + 64) * 2
    spread = 96 * 128
    assert found.state_bytes_per_sequence == 69 * (spread * 128 * 4 + 3 * spread * 3 * 2)


def test_grok_is_told_by_its_class_and_git_stays_git():
    """Grok 2's config calls itself ``git``; a real GIT is sized as one."""
    assert model_facts(GROK_2).experts == 8
    assert model_facts({"model_type": "git"}).experts == 0


def test_jinas_bert_is_no_bert():
    """It has no positions and twice the first half of each feed-forward; norms of queries and keys by its code."""
    plain = model_facts({"model_type": "bert", "vocab_size": 30528}).total_parameters
    jina = model_facts(JINA).total_parameters
    layers = 12 * (768 * 6144 - 768 * 3072 - 3072)
    assert jina - plain == layers - 512 * 768
    code = {"AutoModel": "jinaai/jina-bert-v2-qk-post-norm--modeling_bert.JinaBertModel"}
    assert model_facts(JINA | {"auto_map": code}).total_parameters - jina == 12 * 4 * 768


def test_an_embedder_of_a_text_model_keeps_nothing():
    """A Llama that looks both ways has Llama's parameters, no head and no cache."""
    whole = model_facts(LLAMA | {"tie_word_embeddings": True})
    found = model_facts(LLAMA | {"model_type": "llama_bidirec"})
    assert found.total_parameters == whole.total_parameters
    assert found.kv_bytes_per_token() == 0
    assert not any(part.kind is Kind.HEAD for part in found.parts)


def test_blip_tells_what_its_577_patches_show():
    """Its page counts the tied head of the captioner again; keys and values of the patches are kept once."""
    config = {"model_type": "blip", "text_config": {"num_attention_heads": 12}}
    found = model_facts(config)
    assert found.total_parameters + 30524 * 768 == 247_414_076
    assert found.kv_bytes_per_token() == 12 * 2 * 768 * 2
    seen = [layer for layer in found.cache if layer.keeps is Keeps.ENCODER]
    assert {layer.window for layer in seen} == {24**2 + 1}
    assert len(seen) == 12


def test_a_head_has_as_many_answers_as_its_config_names():
    """SegFormer's smallest for 150 kinds of things has 3,752,694 parameters; two labels where none are named."""
    named = {"id2label": {str(label): f"thing {label}" for label in range(150)}}
    found = model_facts({"model_type": "segformer", **named}).total_parameters
    assert found == 3_752_694
    assert found - model_facts({"model_type": "segformer"}).total_parameters == 148 * 257


def test_a_pair_of_an_encoder_and_a_decoder_is_read_by_their_own_files():
    """TrOCR's base: ViT and a decoder whose keys of patches are narrower than itself."""
    encoder = {"model_type": "vit", "image_size": 384, "qkv_bias": False}
    decoder = {"model_type": "trocr", "cross_attention_hidden_size": 768}
    found = model_facts(
        {"model_type": "vision-encoder-decoder", "encoder": encoder, "decoder": decoder}
    )
    assert found.total_parameters == 333_921_792
    assert found.kv_bytes_per_token() == 12 * 2 * 1024 * 2
    assert {layer.window for layer in found.cache if layer.keeps is Keeps.ENCODER} == {577}


def paired(decoder: dict[str, Any]) -> dict[str, Any]:
    return {"model_type": "vision-encoder-decoder", "encoder": {"model_type": "vit"}} | {
        "decoder": {"add_cross_attention": True, "is_decoder": True, **decoder}
    }


@pytest.mark.parametrize("model_type", ["bert", "roberta", "llama", "t5", "mbart", "led"])
def test_a_decoder_known_without_cross_attention_is_refused(model_type: str):
    """Manga-OCR's BERT would be an encoder, T5 would bring one of its own; GPT-2's file has what joins them."""
    with pytest.raises(SizingError, match=f"'decoder' of this .* is a '{model_type}'") as refused:
        model_facts(paired({"model_type": model_type}))
    assert "ModelFacts(" in str(refused.value)


def test_gpt_2_tells_what_a_vit_sees():
    """The captioner of ViT and GPT-2 counts cross-attention: 28.3M beside GPT-2's 124.4M and the tower."""
    alone = model_facts({"model_type": "gpt2"}).total_parameters
    tower = model_facts({"model_type": "vit"}).total_parameters
    found = model_facts(paired({"model_type": "gpt2"}))
    crossed = 12 * (2 * (768 * 768 + 768) + 768 * 1536 + 1536 + 2 * 768)
    assert found.total_parameters == alone + tower + crossed
    assert found.kv_bytes_per_token() == 12 * 2 * 768 * 2
    seen = [layer for layer in found.cache if layer.keeps is Keeps.ENCODER]
    assert {(layer.window, layer.elements) for layer in seen} == {(197, 2 * 768)}
    assert len(seen) == 12


MOLMO_E: dict[str, Any] = {"model_type": "molmo", "hidden_size": 2048, "intermediate_size": 2048}
MOLMO_E |= {"num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 16}


@pytest.mark.parametrize("name", ["moe_num_experts", "num_experts"])
@pytest.mark.parametrize(
    "config",
    [
        MOLMO_E,
        LLAVA,
        GLM_4V,
        LLAMA | {"model_type": "llama_bidirec"},
        {"model_type": "phi3_v"},
        {"model_type": "phi4mm"},
        {"model_type": "dots_ocr"},
        {"model_type": "minicpmv", "version": "2.6", **TEXT},
        {"model_type": "falcon"},
    ],
    ids=lambda one: one["model_type"],
)
def test_experts_that_no_row_has_are_refused(config: dict[str, Any], name: str):
    """MolmoE's 64 experts are no Molmo of 878M; one that counts none is dense."""
    dense = model_facts(config).total_parameters
    for none in (None, 0):
        assert model_facts(config | {name: none}).total_parameters == dense
    with pytest.raises(SizingError, match=rf"has experts \('{name}' is 64\)") as refused:
        model_facts(config | {name: 64})
    assert "ModelFacts(" in str(refused.value)


XXL: dict[str, Any] = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_heads": 64}
XXL |= {"num_layers": 24, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}


@pytest.mark.parametrize(
    ("model_type", "words", "total"),
    [("t5", 32128, 4.762e9), ("mt5", 250112, 5.655e9), ("umt5", 256384, 5.681e9)],
)
def test_half_of_a_t5_is_its_encoder(model_type: str, words: int, total: float):
    """What image models read prompts with has no decoder and no head, and keeps nothing."""
    names = [f"{model_type.upper()}EncoderModel"]
    whole = {"model_type": model_type, **XXL, "vocab_size": words}
    found = model_facts(whole | {"architectures": names})
    assert found.total_parameters == pytest.approx(total, rel=1e-3)
    assert found.kv_bytes_per_token() == 0
    assert not any(part.kind is Kind.HEAD for part in found.parts)
    assert model_facts(whole).total_parameters > 2 * found.total_parameters - words * 4096


def test_nomics_experts_read_as_far_as_its_dense_model():
    """Nomic's embedder with experts takes 2,048 tokens where its config says nothing."""
    sparse = {"model_type": "nomic_bert", "num_experts": 8, "moe_every_n_layers": 2}
    assert model_facts(sparse).max_context == model_facts({"model_type": "nomic_bert"}).max_context
    assert model_facts(sparse).max_context == 2048


def test_a_voice_that_is_not_counted_is_said():
    """MiniCPM-o's breakdown says that its voice is left out, until its files were counted; MiniCPM-V has none."""
    config = {"model_type": "minicpmo", "version": "2.6", **TEXT}
    found = model_facts(config)
    assert "without its voice" in breakdown(found, Load(), Split(), 80, "vllm").note
    assert "without its voice" in str(size(found).to_json()["weights_note"])
    whole = model_facts(config, stored=2 * found.total_parameters + 1_200_000_000)
    assert breakdown(whole, Load(), Split(), 80, "vllm").note == ""
    seeing = model_facts(config | {"model_type": "minicpmv"})
    assert breakdown(seeing, Load(), Split(), 80, "vllm").note == ""


def test_ultravox_hears_with_whisper():
    """Whisper's encoder and a gated projector around Llama; the norm in the middle is narrower."""
    audio = {"d_model": 1280, "encoder_layers": 32, "num_mel_bins": 128, "encoder_ffn_dim": 5120}
    config = {"model_type": "ultravox", "audio_config": audio, "text_config": LLAMA}
    found = model_facts(config)
    text = model_facts(LLAMA).total_parameters
    assert found.active_parameters == text
    projector = 10240 + 10240 * 4096 + 2048 * 4096 + 4096
    assert found.total_parameters - text == 636_968_960 + projector
    middle = model_facts(config | {"projector_ln_mid": True}).total_parameters
    assert found.total_parameters - middle == 4096 - 2048


STEP = {"model_type": "step3p5", "hidden_size": 4096, "num_hidden_layers": 45}
STEP |= {"num_attention_heads": 64, "num_attention_groups": 8, "vocab_size": 128896}
STEP |= {
    "layer_types": (["full_attention"] + ["sliding_attention"] * 3) * 12,
    "sliding_window": 512,
}
STEP |= {"moe_layers_enum": ",".join(map(str, range(3, 45))), "num_nextn_predict_layers": 3}


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside step3p7"])
def test_sliding_layers_of_step_have_their_own_heads(inside: bool):
    """33 of Step 3.5's layers have 96 heads in place of 64: queries, outputs and gates are wider; 196.96B in all."""
    other = {"attention_other_setting": {"num_attention_heads": 96}}

    def sized(text: dict[str, Any]) -> int:
        whole = {"model_type": "step3p7", "text_config": text} if inside else text
        return model_facts(whole).total_parameters

    assert sized(STEP | other) - sized(STEP) == 33 * 32 * (2 * 128 * 4096 + 4096)
    assert sized(STEP | {"num_sliding_attention_heads": 96}) == sized(STEP | other)
    if not inside:
        assert sized(STEP | other) == pytest.approx(196.96e9, rel=1e-4)
    assert model_facts(STEP | other).attention_heads == 32  # what divides both


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model_type": "minicpmv", "hidden_size": 2304}, r"version 2\.0"),
    ({"model_type": "minicpmo", "version": 9.1, **TEXT}, r"version 9\.1"),
    ({"model_type": "ultravox", "text_model_id": "meta-llama/Llama-3.1-8B"}, "text_config"),
    ({"model_type": "ultravox", "text_config": LLAMA, "projector_act": "relu"}, "'relu'"),
    (
        {"model_type": "ultravox", "text_config": LLAMA, "num_projector_layers": 2},
        "num_projector_layers",
    ),
    (LLAVA | {"mm_vision_tower": "eva-clip"}, "eva-clip"),
    (LLAVA | {"mm_projector_type": "resampler"}, "resampler"),
    ({"model_type": "openvla", "vision_backbone_id": "clip-vit-l-336px"}, "clip-vit-l-336px"),
    ({"model_type": "ovis2_5", "vit_config": {"preserve_original_pe": False}}, "positions"),
    ({"model_type": "moondream1", "text_config": {"model_type": "phi"}}, "figures of its own"),
    ({"model_type": "NemotronH_Nano_VL_V2", "llm_config": NANO, "sound_config": {"x": 1}}, "hears"),
    (
        {"model_type": "Llama_Nemotron_Nano_VL", "llm_config": LLAMA}
        | {"vision_config": {"args": {"model": "vit_giant"}}},
        "vit_giant",
    ),
]


@pytest.mark.parametrize(("config", "named"), REFUSED, ids=[named for _, named in REFUSED])
def test_another_than_was_written_down_is_refused(config: dict[str, Any], named: str):
    """What a file has no rows for is named, with what to state by hand."""
    with pytest.raises(SizingError, match=named) as refused:
        model_facts(config)
    assert "ModelFacts(" in str(refused.value)


def test_the_files_are_what_the_script_writes():
    """Nobody changed a file by hand: the script that is their source writes each as it is."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        import write_served_architectures as script
    finally:
        sys.path.remove(str(SCRIPTS))
    found = {one.model_type: script.written(one) for one in script.served()}
    assert len(found) > 15
    for model_type, text in found.items():
        assert (script.FOLDER / f"{model_type}.json").read_text("utf-8") == text
