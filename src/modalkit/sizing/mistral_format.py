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
_OWN_TYPE = "model_type"  # of Mistral's own kind; which class reads it is told here
_NONE_COUNTS = {"q_lora_rank"}  # queries without a latent; elsewhere null is the same as nothing
_CONTEXTS = ("max_position_embeddings", "max_seq_len")
_CONTEXT = 128_000  # where it does not say; vLLM's default


def as_config(params: dict[str, Any]) -> dict[str, Any]:
    """Return a ``params.json`` as a config.

    Raises:
        SizingError: It is none, or of a model this version cannot size, or a value in it is of another
            kind than its reader takes.
    """
    if missing := [name for name in _NEEDED if name not in params]:
        msg = f"This {PARAMS} is not one of Mistral's: it lacks {', '.join(map(repr, missing))}. {BY_HAND}"
        raise SizingError(msg)
    for name in (*_NEEDED, *(one for one in _CONTEXTS if params.get(one) is not None)):
        _count(params, name)
    text = _text(params)
    whole = {
        "quantization_config": _quantized(params),
        "tie_word_embeddings": text["tie_word_embeddings"],
    }
    multimodal = _part(params, "multimodal")
    inner = _part(multimodal, "vision_encoder_args", "multimodal.")
    if tower := _part(params, "vision_encoder") or inner:
        return {**_seeing(text, tower), **whole}
    if hearing := _part(multimodal, "whisper_model_args", "multimodal."):
        return {**_hearing(text, hearing), **whole}
    return {**text, **whole}


def _part(within: Mapping[str, Any], name: str, inside: str = "") -> Mapping[str, Any]:
    """An object of the file; an empty one where it is left out."""
    value = within.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SizingError(_otherwise(inside + name, "an object", value))
    return value


def _count(within: Mapping[str, Any], name: str, inside: str = "", *, least: int = 1) -> int:
    """A whole number of the file."""
    value = within.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SizingError(_otherwise(inside + name, f"a whole number from {least} up", value))
    return value


def _otherwise(name: str, wanted: str, value: object) -> str:
    return f"The {name!r} of this {PARAMS} must be {wanted}, got {value!r}. Correct it there. {BY_HAND}"


def _text(params: Mapping[str, Any]) -> Raw:
    """The text model."""
    text: Raw = {
        "model_type": "mistral",
        "dtype": "bfloat16",
        "tie_word_embeddings": False,
        "max_position_embeddings": _CONTEXT,
        "sliding_window": None,
        **{name: value for name, value in params.items() if _is_passed_on(name, value)},
        **{known: params[own] for own, known in _NAMES.items() if params.get(own) is not None},
    }
    windows = params.get("sliding_window")
    if isinstance(windows, list):
        text |= _by_pattern(windows, params["n_layers"])
    elif not _is_window(windows):
        raise SizingError(_otherwise("sliding_window", "tokens, or a list of them", windows))
    return text | _sparse(params)


def _is_passed_on(name: str, value: object) -> bool:
    """Whether a field means the same in a config."""
    return name not in {*_NAMES, _OWN_TYPE} and (value is not None or name in _NONE_COUNTS)


def _by_pattern(windows: list[Any], layers: int) -> Raw:
    """Layers that look back as far as a pattern says: one for each of them, None for all tokens."""
    if not windows or layers % len(windows) or not all(_is_window(one) for one in windows):
        wanted = f"a window, or a list of windows and nulls that {layers} layers repeat"
        raise SizingError(_otherwise("sliding_window", wanted, windows))
    kinds = ["sliding_attention" if one else "full_attention" for one in windows]
    return {
        "model_type": "ministral",
        "layer_types": kinds * (layers // len(kinds)),
        "sliding_window": next((one for one in windows if one), None),
    }


def _is_window(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0)


def _sparse(params: Mapping[str, Any]) -> Raw:
    """What a text model with experts says beside."""
    experts = _part(params, "moe")
    if params.get("qk_nope_head_dim"):
        given = experts or {"first_k_dense_replace": params["n_layers"]}
        said = {
            known: _count(given, own, "moe.", least=0)
            for own, known in _EXPERTS.items()
            if given.get(own) is not None
        }
        return {"model_type": "deepseek_v3", **said}
    if not experts:
        return {}
    return {
        "model_type": "mixtral",
        "num_local_experts": _count(experts, "num_experts", "moe."),
        "num_experts_per_tok": _count(experts, "num_experts_per_tok", "moe."),
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
    inside = "multimodal.whisper_model_args.encoder_args."
    encoder = _part(whisper, "encoder_args", inside.removesuffix("encoder_args."))
    if encoder.get("causal"):
        msg = f"This {PARAMS} has a causal encoder, which this version cannot size. {BY_HAND}"
        raise SizingError(msg)
    sound = _part(encoder, "audio_encoding_args", inside)
    return {
        "model_type": "voxtral",
        "dtype": "bfloat16",
        "text_config": {**text, "model_type": "llama"},
        "audio_config": {
            "model_type": "voxtral_encoder",
            "num_mel_bins": _count(sound, "num_mel_bins", f"{inside}audio_encoding_args."),
            "hidden_size": _count(encoder, "dim", inside),
            "num_hidden_layers": _count(encoder, "n_layers", inside),
            "intermediate_size": _count(encoder, "hidden_dim", inside),
            "num_attention_heads": _count(encoder, "n_heads", inside),
        },
    }


def _quantized(params: Mapping[str, Any]) -> Raw | None:
    """Its quantisation in the words of a config."""
    said = _part(params, "quantization")
    if not said:
        return None
    if said.get("qformat_weight") == "fp8_e4m3":
        return {"quant_method": "fp8", "activation_scheme": "static"}
    return {**said, "quant_method": str(said.get("quant_method", "")).replace("_", "-")}
