"""Configs of models that see or hear and come with code of their own, told as our files read them.

Their files are written by ``scripts/write_served_architectures.py``. What a config says under other
names, or only by a version, a class or the name of a tower, is put where those files look for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import SizingError
from .by_hand import BY_HAND

__all__ = ["TOWER_READERS"]

Raw = dict[str, Any]

# Which text model each version of MiniCPM-V and MiniCPM-o has (vLLM's ``get_version_by_config``).
_MINICPM_TEXTS = {"2.5": "llama", "2.6": "qwen2", "4.0": "llama", "4": "llama", "4.5": "qwen3"}
# The class that each original LLaVA extends: LLaVA-NeXT's and LLaVA-OneVision's ``qwen`` is Qwen 2.
_LLAVA_TEXTS = {"llava_llama": "llama", "llava_mistral": "mistral", "llava_qwen": "qwen2"}
# Widths of timm's vision transformers, by which C-RADIO is named: hidden, layers, feed-forward.
_RADIO = {
    "vit_base_patch16_224": (768, 12, 3072),
    "vit_large_patch16_224": (1024, 24, 4096),
    "vit_huge_patch16_224": (1280, 32, 5120),
    "vit_so400m_patch16_224": (1152, 27, 4304),
}
# LLaVA's towers by what their names on the hub hold; the longer one of two comes first.
_CLIP = {"model_type": "clip_vision_model"}
_SIGLIP = {"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304}
_LLAVA_TOWERS: dict[str, Raw] = {
    "clip-vit-large-patch14-336": _CLIP,
    "clip-vit-large-patch14": {**_CLIP, "image_size": 224},
    "siglip-so400m-patch14-384": {
        **_SIGLIP,
        "image_size": 384,
        "num_attention_heads": 16,
        "num_hidden_layers": 26,  # LLaVA's SigLipVisionTower drops the last of 27, and the pooling head
        "patch_size": 14,
        "vision_use_head": False,
    },
}


def _part(raw: Raw, name: str) -> Raw:
    value = raw.get(name)
    return dict(value) if isinstance(value, Mapping) else {}


def _refused(raw: Raw, why: str) -> SizingError:
    return SizingError(
        f"This {raw.get('model_type')!r} {why}, which this version cannot size. {BY_HAND}"
    )


def _deepseek_vl(raw: Raw) -> Raw:
    """DeepSeek-VL2 and both DeepSeek-OCR, which have one model type; the last two have a SAM before their tower."""
    names = [str(name) for name in raw.get("architectures") or ()]
    text = {"model_type": "deepseek_v2", **_part(raw, "language_config")}
    told = {**raw, "text_config": text, "tie_word_embeddings": False}
    if "DeepseekOCR2ForCausalLM" in names:
        return told | {"model_type": "deepseek_ocr_2", "vision_config": {}}
    if "DeepseekOCRForCausalLM" in names or isinstance(
        _part(raw, "vision_config").get("width"), Mapping
    ):
        return told | {"model_type": "deepseek_ocr", "vision_config": {}}
    return told


def _minicpm(raw: Raw) -> Raw:
    """MiniCPM-V and MiniCPM-o: the version says which text model lies flat in the config."""
    version = str(raw.get("version") or ("2.0" if raw.get("hidden_size") == 2304 else "2.5"))  # noqa: PLR2004
    if version not in _MINICPM_TEXTS:
        raise _refused(raw, f"is of version {version}")
    tower = {**_part(raw, "vision_config"), "model_type": "siglip_vision_model"}
    text = {**raw, "model_type": _MINICPM_TEXTS[version]}
    return {"tie_word_embeddings": False, **raw, "text_config": text, "vision_config": tower}


def _nemotron(raw: Raw) -> Raw:
    """Nemotron's models that see: C-RADIO by its name in timm, and summary tokens for its teachers."""
    if isinstance(raw.get("sound_config"), Mapping):
        raise _refused(raw, "hears (it has a 'sound_config')")
    said = _part(raw, "vision_config")
    arguments = _part(said, "args")
    name = str(arguments.get("model", "vit_huge_patch16_224"))
    if name not in _RADIO or said.get("video_temporal_patch_size", 1) != 1:
        raise _refused(raw, f"has a tower {name!r} with frames of its own or of an unknown size")
    hidden, layers, inner = _RADIO[name]
    tower = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": inner,
        "cpe_max_size": arguments.get("cpe_max_size", 2048),
        "patch_size": said.get("patch_size", 16),
        "summary_tokens": _summaries(arguments),
    }
    text = _part(raw, "llm_config") or _part(raw, "text_config")
    return {"tie_word_embeddings": False, **raw, "text_config": text, "vision_config": tower}


def _summaries(arguments: Raw) -> int:
    """One summary token, or one for each teacher, and registers up to the next multiple."""
    teachers = arguments.get("teachers") or []
    tokens = len({one["name"] for one in teachers}) if arguments.get("cls_token_per_teacher") else 1
    registers = arguments.get("register_multiple")
    return tokens + (int(registers) - tokens % int(registers) if registers else 0)


def _ultravox(raw: Raw) -> Raw:
    """Ultravox: Whisper's encoder, stacked frames and any text model."""
    if raw.get("projector_act", "swiglu") != "swiglu":
        raise _refused(raw, f"has a projector with {raw['projector_act']!r}")
    if raw.get("text_model_id") and "model_type" not in _part(raw, "text_config"):
        raise _refused(raw, "leaves out its 'text_config' (it names another model in its place)")
    return raw


def _moondream(raw: Raw) -> Raw:
    """Moondream 2, whose config is empty; earlier ones nest other models."""
    if raw.get("config") or "text_config" in raw:
        raise _refused(raw, "says figures of its own")
    return raw


def _ovis(raw: Raw) -> Raw:
    """Ovis 1.6 and 2: SigLIP or AIMv2 inside a tokenizer of what is seen."""
    seen = _part(raw, "visual_tokenizer_config")
    tower = _part(seen, "backbone_config")
    if tower.get("model_type") == "aimv2":
        tower["model_type"] = "ovis_aimv2"
    told = {
        "visual_vocab_size": seen.get("vocab_size", 65536),
        "hidden_stride": seen.get("hidden_stride", 1),
    }
    return {**raw, **told, "text_config": _part(raw, "llm_config"), "vision_config": tower}


def _ovis_2_5(raw: Raw) -> Raw:
    """Ovis 2.5: SigLIP 2 with its own positions kept."""
    tower = _part(raw, "vit_config")
    if not tower.get("preserve_original_pe", True):
        raise _refused(raw, "has a tower without positions of its own")
    told = {"visual_vocab_size": 65536, "hidden_stride": tower.get("hidden_stride", 2), **raw}
    tower["model_type"] = "siglip_vision_model"
    return {**told, "text_config": _part(raw, "llm_config"), "vision_config": tower}


def _phi4(raw: Raw) -> Raw:
    """Phi-4-multimodal: the ranks of the adapters for what it sees and hears."""
    ranks = {
        f"{name}_lora_rank": _part(raw, f"{name}_lora").get("r", usual)
        for name, usual in (("vision", 256), ("speech", 320))
    }
    return {**raw, **ranks}


def _nemotron_embedding(raw: Raw) -> Raw:
    """Llama Nemotron embedders and rerankers that see: SigLIP without its pooling head."""
    text = {**_part(raw, "llm_config"), "model_type": "llama"}
    tower = {**_part(raw, "vision_config"), "model_type": "siglip_vision_model"}
    tower["vision_use_head"] = False
    return {**raw, "text_config": text, "vision_config": tower}


def _llava(raw: Raw) -> Raw:
    """LLaVA as its authors publish it: a tower by its name on the hub, a text model flat in the config."""
    name = str(raw.get("mm_vision_tower"))
    tower = next((one for known, one in _LLAVA_TOWERS.items() if known in name), None)
    projector = raw.get("mm_projector_type", "linear")
    if tower is None or projector not in {"linear", "mlp2x_gelu"}:
        raise _refused(raw, f"has a tower {name!r} and a projector {projector!r}")
    return {
        "tie_word_embeddings": False,
        **raw,
        "text_config": {**raw, "model_type": _LLAVA_TEXTS[str(raw["model_type"])]},
        "vision_config": tower,
        "two_maps": projector == "mlp2x_gelu",
        "has_newline": "unpad" in str(raw.get("mm_patch_merge_type")),
    }


def _openvla(raw: Raw) -> Raw:
    """OpenVLA with the two towers that it is published with."""
    tower = raw.get("vision_backbone_id", "dinosiglip-vit-so-224px")
    if tower != "dinosiglip-vit-so-224px":
        raise _refused(raw, f"has a tower {tower!r}")
    return {"tie_word_embeddings": False, **raw}


TOWER_READERS: dict[str, Callable[[Raw], Raw]] = {
    "Llama_Nemotron_Nano_VL": _nemotron,
    "NemotronH_Nano_VL_V2": _nemotron,
    "deepseek_vl_v2": _deepseek_vl,
    "llama_nemotron_vl": _nemotron_embedding,
    "llava_llama": _llava,
    "llava_mistral": _llava,
    "llava_qwen": _llava,
    "minicpmo": _minicpm,
    "minicpmv": _minicpm,
    "moondream1": _moondream,
    "openvla": _openvla,
    "ovis": _ovis,
    "ovis2_5": _ovis_2_5,
    "phi4mm": _phi4,
    "ultravox": _ultravox,
}
