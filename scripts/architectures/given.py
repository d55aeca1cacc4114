"""What extraction is told of model types: which are encoders, what their defaults leave out or leave open."""

from __future__ import annotations

from typing import Any

__all__ = ["CACHE_FIELDS", "CLASSES", "DERIVED", "ENCODERS", "FIXED", "HINTS", "IMPLIED"]

ENCODERS = [
    "albert",
    "bert",
    "camembert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "mpnet",
    "modernbert",
    "nomic_bert",
    "roberta",
    "xlm-roberta",
    "jina_embeddings_v3",
    "eurobert",
    "clip",
    "siglip",
    "siglip2",
    "chinese_clip",
    "clap",
    "clip_text_model",
    "clip_vision_model",
    "convbert",
    "dinov2",
    "dinov3_vit",
    "dpr",
    "esm",
    "esmc",
    "embedding_gemma2",
    "embedding_gemma2_text",
    "fnet",
    "funnel",
    "gte",
    "hubert",
    "ibert",
    "layoutlm",
    "layoutlmv3",
    "longformer",
    "luke",
    "metaclip_2",
    "mobilebert",
    "modernvbert",
    "nystromformer",
    "parakeet_ctc",
    "pixtral",
    "siglip_vision_model",
    "siglip2_vision_model",
    "splinter",
    "squeezebert",
    "vit",
    "wav2vec2",
    "wav2vec2-bert",
    "wavlm",
    "deit",
    "dinov2_with_registers",
    "sam",
    "segformer",
    "swin",
]

# The class of encoders that are published with a head.
CLASSES = {"segformer": "SegformerForSemanticSegmentation"}

# What sizing reads of a config beside its shapes: caches, experts in use, the longest context.
CACHE_FIELDS = frozenset(
    [
        "sliding_window",
        "use_sliding_window",
        "attention_chunk_size",
        "index_head_dim",
        "index_topk",
        "head_dim",
        "d_kv",
        "hidden_size",
        "num_attention_heads",
        "num_key_value_heads",
        "num_hidden_layers",
        "max_position_embeddings",
        "linear_num_value_heads",
        "linear_num_key_heads",
        "linear_key_head_dim",
        "linear_value_head_dim",
        "linear_conv_kernel_dim",
        "linear_attn_config",
        "mamba_num_heads",
        "mamba_n_heads",
        "mamba_head_dim",
        "mamba_d_head",
        "ssm_state_size",
        "mamba_d_state",
        "state_size",
        "mamba_ssm_dtype",
        "num_experts_per_tok",
        "top_k_experts",
        "moe_k",
        "num_experts_per_token",
        "moe_top_k",
        "moe_topk",
        "tie_word_embeddings",
        "kv_lora_rank",
        "qk_rope_head_dim",
        "num_nextn_predict_layers",
        "mtp_num_hidden_layers",
        "vocab_size",
        "intermediate_size",
    ]
)

# What some classes need and their own defaults leave out; the values only have to go together.
HINTS: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [3, 9]},
    "granitemoehybrid": {"layer_types": (["linear_attention"] * 7 + ["full_attention"]) * 4},
    "deepseek_v4": {
        "num_hidden_layers": 15,
        "layer_types": ["sliding_attention", "sliding_attention"]
        + ["compressed_sparse_attention", "heavily_compressed_attention"] * 6
        + ["sliding_attention"],
    },
    "deepseek_v2": {"first_k_dense_replace": 2},
    "chameleon": {"vocabulary_map": {"<image>": 8711}},
    "dbrx": {"attn_config.rope_theta": 500_000.0},
    "emu3": {"vocabulary_map": {"<image>": 151_851, "<|extra_200|>": 151_846}},
    "nllb-moe": {"decoder_sparse_step": 3},
    "qwen3_omni_moe": {
        "talker_config.text_config.shared_expert_intermediate_size": 768,
        "talker_config.spatial_merge_size": 2,
        "thinker_config.text_config.head_dim": 128,
    },
    "trocr": {"cross_attention_hidden_size": 768},
    "switch_transformers": {"num_sparse_encoder_layers": 4, "num_sparse_decoder_layers": 3},
    "dots1": {"n_shared_experts": 2, "n_routed_experts": 128, "first_k_dense_replace": 2},
    "ernie4_5_moe": {"moe_layer_start_index": 2, "moe_layer_interval": 2},
    "esm": {"vocab_size": 33, "pad_token_id": 1},
    "falcon_mamba": {"intermediate_size": 1536, "time_step_rank": 48},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "hunyuan_vl": {"text_config.head_dim": 128},
    "lfm2": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 8},
    "lfm2_vl": {"text_config.layer_types": ["conv", "conv", "full_attention", "conv"] * 8},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 8},
    "llama4": {"text_config.interleave_moe_layer_step": 2},
    "llama4_text": {"interleave_moe_layer_step": 2},
    "ministral": {"head_dim": 128},
    "mistral4": {"first_k_dense_replace": 2},
    "nemotron": {"num_key_value_heads": 48, "head_dim": 128},
    "nemotron_h": {"moe_latent_size": 1024},
}
for _type in ("qwen2_moe", "qwen3_moe", "qwen3_next"):
    HINTS[_type] = {"decoder_sparse_step": 2, "mlp_only_layers": [1, 4]}
for _type, _prefix in (
    ("qwen3_vl_moe", "text_config."),
    ("qwen3_omni_moe_thinker", "text_config."),
):
    HINTS[_type] = {f"{_prefix}decoder_sparse_step": 2, f"{_prefix}mlp_only_layers": [1, 4]}
HINTS["qwen3_omni_moe_thinker"]["text_config.head_dim"] = 128
for _type in ("gemma4_text", "gemma4_unified_text", "gemma4", "gemma4_unified"):
    _prefix = "" if _type.endswith("text") else "text_config."
    HINTS[_type] = {
        f"{_prefix}global_head_dim": 512,
        f"{_prefix}num_global_key_value_heads": 2,
        f"{_prefix}num_kv_shared_layers": 4,
        f"{_prefix}enable_moe_block": True,
        f"{_prefix}num_experts": 16,
        f"{_prefix}top_k_experts": 4,
        f"{_prefix}moe_intermediate_size": 704,
    }

# Settings whose part in the count is not traced; every published checkpoint has the class's default.
FIXED = {
    "blip-2": ["qformer_config.cross_attention_frequency", "qformer_config.use_qformer_text_input"],
    "gemma3n": ["text_config.altup_num_inputs"],
    "gemma3n_text": ["altup_num_inputs"],
    "got_ocr2": ["vision_config.use_abs_pos"],
    "granite_speech": ["projector_config.cross_attention_frequency", "tie_word_embeddings"],
    "granite_speech_plus": ["projector_config.cross_attention_frequency", "tie_word_embeddings"],
    "marian": ["tie_word_embeddings"],
    "nllb-moe": ["tie_word_embeddings"],
    "switch_transformers": [  # every layer with experts, as Switch-C has it, is refused
        "num_layers",
        "num_decoder_layers",
        "num_sparse_encoder_layers",
        "num_sparse_decoder_layers",
    ],
    "t5gemma": [
        "encoder.tie_word_embeddings",
        "decoder.tie_word_embeddings",
        "tie_word_embeddings",
    ],
}

# Settings that a class works out of others where they are left out, which its default config does not show.
DERIVED: dict[str, dict[str, str]] = {
    "trocr": {"cross_attention_hidden_size": "d_model"},  # TrOCRAttention's kdim
}
for _type, _prefix in (  # Qwen3OmniMoeThinkerTextAttention's head_dim, no field of its config
    ("qwen3_omni_moe", "thinker_config.text_config."),
    ("qwen3_omni_moe_thinker", "text_config."),
):
    DERIVED[_type] = {
        f"{_prefix}head_dim": f"({_prefix}hidden_size // {_prefix}num_attention_heads)"
    }

# Experts that a token passes through where the class fixes them and its config has no word for it.
IMPLIED: dict[str, dict[str, Any]] = {
    "nllb-moe": {"num_experts_per_tok": 2},  # NllbMoeTop2Router
    "switch_transformers": {"num_experts_per_tok": 1},  # SwitchTransformersTop1Router
}
