"""LLaVA as its authors publish it, and others that join a known tower to a text model by a few maps."""

from __future__ import annotations

from collections.abc import Iterator

from .rows import Row, conv, linear, norm, stack, table, tensor, when
from .seeing import HEAD, HIDDEN
from .served import Served
from .towers import CLIP_LARGE, SIGLIP_400M, siglip_of_timm, vit_layer

__all__ = ["llava"]

MERGED = "(4 * vision_config.hidden_size)"


def llava() -> Iterator[Served]:
    """Yield the architectures."""
    yield _original()
    yield _keye("Keye", "vLLM 0.33 KeyeForConditionalGeneration", "vision_config.hidden_size")
    yield _keye("KeyeVL1_5", "vLLM 0.33 KeyeVL1_5ForConditionalGeneration", MERGED)
    yield _chatglm()
    yield _eagle()
    yield _openvla()


def _original() -> Served:
    seen = "vision_config.hidden_size"
    rows = [
        *linear("mm_projector.0", HIDDEN, seen),
        *when("two_maps", linear("mm_projector.2", HIDDEN, HIDDEN)),
        *when("has_newline", tensor("image_newline", HIDDEN)),
        *HEAD,
    ]
    settings = {**CLIP_LARGE, "has_newline": False, "two_maps": True}
    tower = {"vision_config": "clip_vision_model"}
    source = "SGLang 0.5.23 LlavaLlamaForCausalLM"
    return Served("llava_original", source, rows, settings, text="llama", towers=tower)


def _keye(model_type: str, source: str, normed: str) -> Served:
    """Keye-VL: SigLIP with a second table of positions, patches merged four by four."""
    rows = [
        *table(
            "vision_tower.embeddings.packing_position_embedding", 32768, "vision_config.hidden_size"
        ),
        *norm("vision_projector.pre_norm", normed, bias=True),
        *linear("vision_projector.linear_1", MERGED, MERGED),
        *linear("vision_projector.linear_2", HIDDEN, MERGED),
        *HEAD,
    ]
    settings = {**SIGLIP_400M, "vision_config.image_size": 384}
    tower = {"vision_config": "siglip_vision_model"}
    return Served(model_type, source, rows, settings, text="qwen3", towers=tower)


def _chatglm() -> Served:
    """GLM-4V: EVA-CLIP, a convolution over its patches and a gated map."""
    width, inner = "vision_config.hidden_size", "vision_config.intermediate_size"
    layer = [
        *norm("input_layernorm", width, bias=True),
        *linear("attention.query_key_value", f"3 * {width}", width),
        *linear("attention.dense", width, width),
        *norm("post_attention_layernorm", width, bias=True),
        *linear("mlp.fc1", inner, width),
        *linear("mlp.fc2", width, inner),
    ]
    patch, gated = "vision_config.patch_size", "text_config.intermediate_size"
    embedding = "vision.patch_embedding"
    rows: list[Row] = [
        *conv(f"{embedding}.proj", width, "vision_config.in_channels", patch, patch),
        *tensor(f"{embedding}.cls_embedding", 1, width),
        *table(f"{embedding}.position_embedding", "vision_config.num_positions", width),
        *stack("vision.transformer.layers", "vision_config.num_hidden_layers", layer),
        *conv("vision.conv", HIDDEN, width, 2, 2),
        *linear("vision.linear_proj.linear_proj", HIDDEN, HIDDEN, bias=False),
        *norm("vision.linear_proj.norm1", HIDDEN, bias=True),
        *linear("vision.linear_proj.gate_proj", gated, HIDDEN, bias=False),
        *linear("vision.linear_proj.dense_h_to_4h", gated, HIDDEN, bias=False),
        *linear("vision.linear_proj.dense_4h_to_h", HIDDEN, gated, bias=False),
        *tensor("vision.boi", 1, 1, HIDDEN),
        *tensor("vision.eoi", 1, 1, HIDDEN),
        *HEAD,
    ]
    settings = {
        "vision_config.hidden_size": 1792,
        "vision_config.in_channels": 3,
        "vision_config.intermediate_size": 15360,
        "vision_config.num_hidden_layers": 63,
        "vision_config.num_positions": 6401,
        "vision_config.patch_size": 14,
    }
    return Served("chatglm_4v", "vLLM 0.33 GLM4VForCausalLM", rows, settings, text="chatglm")


def _eagle() -> Served:
    """Eagle 2.5: SigLIP, its patches merged four by four."""
    seen = "(vision_config.hidden_size * int(1 / downsample_ratio) ** 2)"
    rows = [
        *norm("vision_projector.0", seen, bias=True),
        *linear("vision_projector.1", HIDDEN, seen),
        *linear("vision_projector.3", HIDDEN, HIDDEN),
        *HEAD,
    ]
    settings = {**SIGLIP_400M, "vision_config.image_size": 448, "downsample_ratio": 0.5}
    tower = {"vision_config": "siglip_vision_model"}
    source = "vLLM 0.33 Eagle2_5_VLForConditionalGeneration"
    return Served("eagle_2_5_vl", source, rows, settings, text="qwen2", towers=tower)


def _openvla() -> Served:
    """OpenVLA: DINOv2 with registers and SigLIP, both of 16 x 16 patches, beside each other before Llama 2."""
    scaled = [*tensor("ls1.scale_factor", 1024), *tensor("ls2.scale_factor", 1024)]
    first, both = "vision_backbone.featurizer", 1024 + 1152
    rows = [
        *conv(f"{first}.patch_embed.proj", 1024, 3, 14, 14),
        *tensor(f"{first}.cls_token", 1, 1024),
        *tensor(f"{first}.reg_token", 4, 1024),
        *tensor(f"{first}.pos_embed", 16**2, 1024),
        *stack(f"{first}.blocks", 24, vit_layer("1024", "4096") + scaled),
        *norm(f"{first}.norm", 1024, bias=True),
        *siglip_of_timm("vision_backbone.fused_featurizer", "1152", "4304", "27", 16),
        *linear("projector.fc1", 4 * both, both),
        *linear("projector.fc2", HIDDEN, 4 * both),
        *linear("projector.fc3", HIDDEN, HIDDEN),
        *HEAD,
    ]
    return Served("openvla", "vLLM 0.33 OpenVLAForActionPrediction", rows, text="llama")
