"""Mistral's own ``params.json``, told as a ``config.json`` would tell it.

Its repositories hold one beside a ``config.json``, or in place of it. Which class reads which is vLLM's
reading of them (0.33, ``transformers_utils/configs/mistral.py``): a dense model is a Mistral, one with
experts a Mixtral, one with latent attention and shared experts a DeepSeek-V3; a tower is Pixtral's, an
encoder Voxtral's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import SizingError
from .by_hand import BY_HAND

__all__ = ["PARAMS", "as_config"]

PARAMS = "params.json"
Raw = dict[str, Any]

_NAMES = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "hidden_dim": "intermediate_size",
    "tied_embeddings": "tie_word_embeddings",
    "max_seq_len": "max_position_embeddings",
    "use_biases": "attention_bias",
}
_EXPERTS = {
    "num_experts": "n_routed_experts",
    "num_experts_per_tok": "num_experts_per_tok",
    "first_k_dense_replace": "first_k_dense_replace",
    "expert_hidden_dim": "moe_intermediate_size",
    "num_shared_experts": "n_shared_experts",
}
_NEEDED = ("dim", "n_layers", "n_heads", "hidden_dim", "vocab_size")
_CONTEXT = 128_000  # where it does not say; vLLM's default


def as_config(params: dict[str, Any]) -> dict[str, Any]:
    """Return a ``params.json`` as a config.

    Raises:
        SizingError: It is none, or of a model this version cannot size.
    """
    if missing := [name for name in _NEEDED if name not in params]:
        msg = f"This {PARAMS} is not one of Mistral's: it lacks {', '.join(map(repr, missing))}. {BY_HAND}"
        raise SizingError(msg)
    text = _text(params)
    whole = {"quantization_config": _quantized(params), "tie_word_embeddings": False}
    whole["tie_word_embeddings"] = text["tie_word_embeddings"]
    multimodal = params.get("multimodal") or {}
    if tower := params.get("vision_encoder") or multimodal.get("vision_encoder_args"):
        return {**_seeing(text, tower), **whole}
    if hearing := multimodal.get("whisper_model_args"):
        return {**_hearing(text, hearing), **whole}
    return {**text, **whole}


def _text(params: Mapping[str, Any]) -> Raw:
    """The text model."""
    text: Raw = {
        "model_type": "mistral",
        "dtype": "bfloat16",
        "tie_word_embeddings": False,
        "max_position_embeddings": params.get("max_position_embeddings") or _CONTEXT,
        "sliding_window": None,
        **{name: value for name, value in params.items() if name not in _NAMES},
        **{known: params[own] for own, known in _NAMES.items() if params.get(own) is not None},
    }
    windows = params.get("sliding_window")
    if isinstance(windows, list):  # one for each layer of a pattern, None for all tokens
        kinds = ["sliding_attention" if one else "full_attention" for one in windows]
        text["layer_types"] = kinds * (text["num_hidden_layers"] // len(kinds))
        text["sliding_window"] = next((one for one in windows if one), None)
        text["model_type"] = "ministral"
    return text | _sparse(params)


def _sparse(params: Mapping[str, Any]) -> Raw:
    """What a text model with experts says beside."""
    experts = params.get("moe")
    if params.get("qk_nope_head_dim"):
        dense = {"first_k_dense_replace": params["n_layers"]}
        given = experts or dense
        return {
            "model_type": "deepseek_v3",
            **{known: given[own] for own, known in _EXPERTS.items() if own in given},
        }
    if not experts:
        return {}
    return {
        "model_type": "mixtral",
        "num_local_experts": experts["num_experts"],
        "num_experts_per_tok": experts["num_experts_per_tok"],
    }


def _seeing(text: Raw, tower: Mapping[str, Any]) -> Raw:
    """Pixtral's tower: with a merger of patches Mistral 3, else LLaVA."""
    merged = tower.get("mm_projector_id") == "patch_merge"
    return {
        "model_type": "mistral3" if merged else "llava",
        "dtype": "bfloat16",
        "multimodal_projector_bias": bool(tower.get("adapter_bias", False)),
        "spatial_merge_size": tower.get("spatial_merge_size", 2),
        "text_config": text,
        "vision_config": {**tower, "model_type": "pixtral"},
    }


def _hearing(text: Raw, whisper: Mapping[str, Any]) -> Raw:
    """Whisper's encoder before the text model: Voxtral."""
    encoder = whisper["encoder_args"]
    if encoder.get("causal"):
        msg = f"This {PARAMS} has a causal encoder, which this version cannot size. {BY_HAND}"
        raise SizingError(msg)
    return {
        "model_type": "voxtral",
        "dtype": "bfloat16",
        "text_config": {**text, "model_type": "llama"},
        "audio_config": {
            "model_type": "voxtral_encoder",
            "num_mel_bins": encoder["audio_encoding_args"]["num_mel_bins"],
            "hidden_size": encoder["dim"],
            "num_hidden_layers": encoder["n_layers"],
            "intermediate_size": encoder["hidden_dim"],
            "num_attention_heads": encoder["n_heads"],
        },
    }


def _quantized(params: Mapping[str, Any]) -> Raw | None:
    """Its quantisation in the words of a config."""
    said = params.get("quantization")
    if not said:
        return None
    if said.get("qformat_weight") == "fp8_e4m3":
        return {"quant_method": "fp8", "activation_scheme": "static"}
    return {**said, "quant_method": str(said.get("quant_method", "")).replace("_", "-")}
