"""Configs whose classes come with the model, told as the class of a known architecture would tell them.

Each of these model types is laid out like a class of transformers, under other names. What is rewritten
is only the config; a model that a class of its own sets apart is refused as any unknown one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import SizingError
from .by_hand import BY_HAND
from .remote_towers import TOWER_READERS

__all__ = ["ALIASES", "EXPERT_COUNTS", "as_known"]

Raw = dict[str, Any]

_NEMOTRON_NAS = "nemotron-nas"
# The model type whose layout each of these has.
ALIASES = {
    "RefinedWeb": "falcon",
    "RefinedWebModel": "falcon",
    "Yi": "llama",
    "aquila": "llama",
    "baichuan": "llama",
    "bailing_moe": "glm4_moe",
    "bailing_moe_v2": "glm4_moe",
    "chatglm": "qwen2",
    "deepseek": "glm4_moe",
    "deepseek_ref": "deepseek_v4",
    "exaone": "llama",
    "h2ovl_chat": "internvl",
    "internlm": "llama",
    "internlm2": "llama",
    "interns1": "internvl",
    "internvl_chat": "internvl",
    "kimi_k2": "deepseek_v3",
    "kimi_vl": "kimi_k25",
    "llava_llama": "llava_original",
    "llava_mistral": "llava_original",
    "llava_qwen": "llava_original",
    "mimo": "qwen2",
    "mimo_v2": "mimo_v2_flash",
    "minicpm": "llama",
    "minimax_text_01": "minimax",
    "moonvit": "kimi_k25",
    _NEMOTRON_NAS: "llama",
    "new": "gte",
    "opencua": "qwen2_5_vl",
    "orion": "stablelm",
    "qwen": "qwen2",
    "sarvam_mla": "deepseek_v3",
    "skywork": "llama",
    "skywork_chat": "internvl",
    "solar": "llama",
    "stablelm_epoch": "stablelm",
    "xverse": "llama",
    "yi": "llama",
}
# Known classes without experts, and those with a tower: all that these can stand for.
_DENSE = {"gte", "llama", "qwen2", "stablelm"}
# Published with both halves, and by the first alone (``T5EncoderModel``).
_ENCODERS = {"t5", "mt5", "umt5"}
_WITH_TOWERS = {"internvl", "kimi_k25", "qwen2_5_vl"}
_ROUTED = ("num_experts", "n_routed_experts", "num_local_experts")
EXPERT_COUNTS = (*_ROUTED, "num_routed_experts", "moe_num_experts", "num_moe_experts")
_DEEPSEEK_EXPERTS = {"num_experts": "n_routed_experts", "num_shared_experts": "n_shared_experts"}
_EXPERTS = (*EXPERT_COUNTS, "moe_intermediate_size")
_TOWERS = (
    *("visual", "audio", "vision", "vision_config", "visual_config", "audio_config"),
    *("vision_encoder", "vision_tower", "audio_tower", "speech_config"),
)


def as_known(raw: Raw) -> Raw:
    """Return a config as the class of a known architecture would read it; the text model inside it too.

    Raises:
        SizingError: It says something that this class has no place for, such as experts or a tower.
    """
    own = _by_its_code(raw)
    _refuse_what_is_left_out(own)
    read = _READERS.get(str(own.get("model_type")))
    told = read(own) if read else own
    text = told.get("text_config")
    return {**told, "text_config": as_known(dict(text))} if isinstance(text, Mapping) else told


def _by_its_code(raw: Raw) -> Raw:
    """Name a model by its own code where its config calls it like another: Grok 2 is no GIT, Jina's BERT no BERT."""
    model_type, names = raw.get("model_type"), raw.get("architectures") or ()
    if "Grok1ForCausalLM" in names:
        return {**raw, "model_type": "grok-1"}
    if model_type == "bert" and any(str(name).startswith("JinaBert") for name in names):
        sources = [str(one) for one in dict(raw.get("auto_map") or {}).values()]
        normed = any("qk-post-norm" in one for one in sources)
        return {**raw, "model_type": "jina_bert", "qk_post_norm": normed}
    if model_type in _ENCODERS and any(str(name).endswith("EncoderModel") for name in names):
        return {**raw, "model_type": f"{model_type}_encoder"}
    if model_type == "nomic_bert" and raw.get("num_experts") and raw.get("moe_every_n_layers"):
        return {**raw, "model_type": "nomic_moe"}
    if model_type == "xlm-roberta" and raw.get("lora_adaptations"):
        return {**raw, "model_type": "jina_adapted"}
    if model_type == "chatglm" and isinstance(raw.get("vision_config"), Mapping):
        text = {name: value for name, value in raw.items() if name != "vision_config"}
        return {**raw, "model_type": "chatglm_4v", "text_config": text}
    return raw


def _refuse_what_is_left_out(raw: Raw) -> None:
    """Refuse experts and towers where the known class has neither: it would be sized without them."""
    own = str(raw.get("model_type"))
    known = ALIASES.get(own)
    if known in _DENSE and (name := next((one for one in _EXPERTS if raw.get(one)), None)):
        what, whole = f"experts ({name!r} is {raw[name]!r})", "every expert counted"
    elif known and known not in _WITH_TOWERS and (name := _tower_of(raw)):
        what, whole = f"a tower (under {name!r})", "its tower counted"
    else:
        return
    msg = (
        f"This {own!r} has {what}, which this version does not know of that model type; without, it would be "
        f"sized too small. State the whole model, {whole}. {BY_HAND}"
    )
    raise SizingError(msg)


def _tower_of(raw: Raw) -> str | None:
    return next((one for one in _TOWERS if isinstance(raw.get(one), Mapping)), None)


def _renamed(names: Mapping[str, str], **fixed: object) -> Callable[[Raw], Raw]:
    """Give fields the names of the known class, and what that class does not take for granted."""

    def read(raw: Raw) -> Raw:
        given = {known: raw[own] for own, known in names.items() if raw.get(own) is not None}
        return {**fixed, **raw, **given}

    return read


def _chatglm(raw: Raw) -> Raw:
    """ChatGLM2, ChatGLM3, GLM-4: Qwen2's layers, biases on queries, keys and values included."""
    if "padded_vocab_size" not in raw or "vision_config" in raw or not raw.get("add_qkv_bias"):
        msg = (
            "This version can size a 'chatglm' that has 'padded_vocab_size' and 'add_qkv_bias' and no tower, "
            f"such as ChatGLM3 and GLM-4-9B; this config is of another. {BY_HAND}"
        )
        raise SizingError(msg)
    heads = raw["num_attention_heads"]
    groups = raw.get("multi_query_group_num") if raw.get("multi_query_attention") else heads
    return raw | {
        "num_hidden_layers": raw["num_layers"],
        "intermediate_size": raw["ffn_hidden_size"],
        "vocab_size": raw["padded_vocab_size"],
        "num_key_value_heads": groups,
        "head_dim": raw.get("kv_channels", 128),
        "max_position_embeddings": raw.get("seq_length", 2048),
        "tie_word_embeddings": raw.get("tie_word_embeddings", False),
    }


def _qwen(raw: Raw) -> Raw:
    """Qwen-7B and its kin: Qwen2's layers, with a feed-forward half as wide as its config says."""
    return raw | {
        "intermediate_size": raw["intermediate_size"] // 2,
        "num_key_value_heads": raw["num_attention_heads"],
        "max_position_embeddings": raw.get("seq_length", raw.get("max_position_embeddings")),
        "tie_word_embeddings": raw.get("tie_word_embeddings", False),
    }


def _deepseek_moe(raw: Raw) -> Raw:
    """DeepSeek-MoE, Ling: GLM-4.5's layers; heads of their own keys where nothing groups them."""
    heads, step = raw["num_attention_heads"], raw.get("moe_layer_freq", 1)
    shared = raw.get("moe_shared_expert_intermediate_size", raw.get("moe_intermediate_size"))
    if step != 1 or shared != raw.get("moe_intermediate_size"):
        msg = (
            f"This {raw['model_type']!r} has a dense layer among its sparse ones or a shared expert of another "
            f"width, which this version cannot size. {BY_HAND}"
        )
        raise SizingError(msg)
    given = {
        known: raw[own] for own, known in _DEEPSEEK_EXPERTS.items() if raw.get(own) is not None
    }
    if not any(raw.get(name) for name in _ROUTED):
        given |= _all_dense(raw)
    return {
        "first_k_dense_replace": 0,
        "n_shared_experts": 0,
        "head_dim": raw["hidden_size"] // heads,
        "num_key_value_heads": heads,
        "tie_word_embeddings": False,
        "use_qk_norm": False,
        "attention_bias": bool(raw.get("use_qkv_bias", False)),
        **{name: value for name, value in raw.items() if value is not None},
        **given,
    }


def _deepseek_v2(raw: Raw) -> Raw:
    """DeepSeek-V2 as DeepSeek-VL2's smallest and DeepSeek-OCR have it: with DeepSeek-MoE's attention."""
    if raw.get("use_mla") is False:
        return _deepseek_moe({**raw, "model_type": "deepseek"})
    return raw


def _all_dense(raw: Raw) -> Raw:
    """DeepSeek-MoE without experts, as its class is where none are counted; another says its own number."""
    if raw["model_type"] != "deepseek":
        msg = (
            f"This {raw['model_type']!r} does not say how many experts its layers have: write 'num_experts' into "
            f"its config. {BY_HAND}"
        )
        raise SizingError(msg)
    return {"first_k_dense_replace": raw["num_hidden_layers"], "n_routed_experts": 0}


def _step(raw: Raw) -> Raw:
    """Step 3.5 and 3.7: layers that look back a window may have more heads than the others."""
    if isinstance(text := raw.get("text_config"), Mapping):
        return {
            **raw,
            "text_config": {"model_type": "step3p5", **text},
        }  # read as any text model is
    other = raw.get("attention_other_setting")
    told = other.get("num_attention_heads") if isinstance(other, Mapping) else None
    sliding = raw.get("num_sliding_attention_heads") or told
    kinds, usual = raw.get("layer_types"), raw.get("num_attention_heads")
    if not sliding or not isinstance(kinds, list):
        return raw
    own = kinds[: raw.get("num_hidden_layers")]  # what comes after predicts further tokens
    heads = [sliding if kind == "sliding_attention" else usual for kind in own]
    return {**raw, "layer_types": own, "num_attention_heads": heads}


def _refined_web(raw: Raw) -> Raw:
    """Falcon 7B and 40B before transformers had them; the wider one groups its heads (vLLM's ``RWConfig``)."""
    names = {**_OF_GPT2, "n_head_kv": "num_kv_heads"}
    wider = raw.get("hidden_size") == 8192  # noqa: PLR2004 - Falcon 40B's
    told = {known: raw[own] for own, known in names.items() if raw.get(own) is not None}
    return {"new_decoder_architecture": wider, **raw, **told}


def _minimax_text(raw: Raw) -> Raw:
    """MiniMax-Text-01: which layers have full attention, by 0 and 1."""
    kinds = raw.get("attn_type_list")
    if not isinstance(kinds, list):
        return raw
    names = ["full_attention" if kind else "linear_attention" for kind in kinds]
    return {"tie_word_embeddings": False, **raw, "layer_types": names}


def _internvl_chat(raw: Raw) -> Raw:
    """InternVL as OpenGVLab publishes it: InternVL's own tower around any text model."""
    tower, text = dict(raw["vision_config"]), dict(raw["llm_config"])
    tower["attention_bias"] = tower.get("qkv_bias", True)
    tower["use_qk_norm"] = tower.get("qk_normalization", False)
    tower["model_type"] = "internvl_vision"
    if (tower.get("image_size", 448), tower.get("patch_size", 14)) != (448, 14):
        msg = f"This version can size an 'internvl_chat' of 448 pixels in patches of 14 only, not this one. {BY_HAND}"
        raise SizingError(msg)
    tied = raw.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    return raw | {
        "vision_config": tower,
        "text_config": text,
        "tie_word_embeddings": tied,
    }


def _kimi_vl(raw: Raw) -> Raw:
    """Kimi-VL: the tower of Kimi-K2.5 without its time, around DeepSeek-V3."""
    tower = dict(raw["vision_config"])
    tower |= {
        "pos_emb_height": tower.get("init_pos_emb_height", 64),
        "pos_emb_width": tower.get("init_pos_emb_width", 64),
    }
    text = {"tie_word_embeddings": False, **raw["text_config"]}
    return {
        "tie_word_embeddings": False,
        **raw,
        "projection_hidden_size": tower.get("hidden_size", 1152),
        "vision_config": tower,
        "text_config": text,
    }


def _nemotron_nas(raw: Raw) -> Raw:
    """Nemotron-NAS (``DeciLMForCausalLM``): Llama with layers of their own sizes, or without a half.

    Its ``block_configs`` become one figure for each layer.
    """
    blocks = raw.get("block_configs")
    if not isinstance(blocks, list):
        msg = (
            f"The config of this {_NEMOTRON_NAS!r} model must have its 'block_configs', which say how wide each "
            f"layer is, got {blocks!r}. {BY_HAND}"
        )
        raise SizingError(msg)
    heads, hidden = int(raw["num_attention_heads"]), int(raw["hidden_size"])
    attentions = [block["attention"] for block in blocks]
    forwards = [block["ffn"] for block in blocks]
    if any(one.get("replace_with_linear") for one in (*attentions, *forwards)):
        msg = (
            f"A layer of this {_NEMOTRON_NAS!r} model has a linear map in place of its attention or "
            f"feed-forward, which this version cannot size. {BY_HAND}"
        )
        raise SizingError(msg)
    return raw | {
        "head_dim": hidden // heads,
        "num_attention_heads": [0 if one["no_op"] else heads for one in attentions],
        "num_key_value_heads": [
            0 if one["no_op"] else heads // one["n_heads_in_group"] for one in attentions
        ],
        "intermediate_size": [
            0 if one["no_op"] else _width(float(one["ffn_mult"]), hidden) for one in forwards
        ],
        "layer_types": ["identity" if one["no_op"] else "full_attention" for one in attentions],
    }


def _width(multiple: float, hidden: int) -> int:
    """Width of a Nemotron-NAS feed-forward: two thirds of a multiple, up to the next 256."""
    return -(-int(2 * multiple * hidden / 3) // 256) * 256


_OF_GPT2 = {
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_layer": "num_hidden_layers",
    "n_positions": "max_position_embeddings",
}
_READERS: dict[str, Callable[[Raw], Raw]] = {
    "RefinedWeb": _refined_web,
    "RefinedWebModel": _refined_web,
    "bailing_moe": _deepseek_moe,
    "bailing_moe_v2": _deepseek_moe,
    "baichuan": _renamed({}, tie_word_embeddings=False),
    "chatglm": _chatglm,
    "deepseek": _deepseek_moe,
    "deepseek_v2": _deepseek_v2,
    "exaone": _renamed({"num_layers": "num_hidden_layers"}, tie_word_embeddings=False),
    "internlm": _renamed({"bias": "attention_bias"}, tie_word_embeddings=False),
    "internlm2": _renamed({"bias": "attention_bias"}, tie_word_embeddings=False),
    "h2ovl_chat": _internvl_chat,
    "internvl_chat": _internvl_chat,
    "kimi_vl": _kimi_vl,
    "minicpm": _renamed({}, tie_word_embeddings=True),
    "minimax_text_01": _minimax_text,
    _NEMOTRON_NAS: _nemotron_nas,
    "nomic_moe": _renamed(_OF_GPT2),
    "orion": _renamed({}, tie_word_embeddings=False, use_qkv_bias=False),
    "qwen": _qwen,
    "sarvam_mla": _renamed(_DEEPSEEK_EXPERTS, tie_word_embeddings=False),
    "skywork_chat": _internvl_chat,
    "step3p5": _step,
    "step3p7": _step,
    **TOWER_READERS,
}
