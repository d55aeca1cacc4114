"""Towers that several models share, as rows."""

from __future__ import annotations

from .rows import Row, conv, linear, norm, stack, tensor

__all__ = [
    "CLIP_LARGE",
    "RADIO_HUGE",
    "SIGLIP_400M",
    "radio",
    "resampler",
    "sam_with_neck",
    "siglip_of_timm",
    "vit_layer",
    "whisper_encoder",
]

# Towers that a class builds by itself, whatever its config says of them.
CLIP_LARGE = {
    "vision_config.hidden_size": 1024,
    "vision_config.image_size": 336,
    "vision_config.intermediate_size": 4096,
    "vision_config.num_attention_heads": 16,
    "vision_config.num_hidden_layers": 24,
    "vision_config.patch_size": 14,
}
SIGLIP_400M = {
    "vision_config.hidden_size": 1152,
    "vision_config.image_size": 980,
    "vision_config.intermediate_size": 4304,
    "vision_config.num_attention_heads": 16,
    "vision_config.num_hidden_layers": 27,
    "vision_config.patch_size": 14,
    "vision_config.vision_use_head": False,
}
RADIO_HUGE = {
    "vision_config.cpe_max_size": 2048,
    "vision_config.hidden_size": 1280,
    "vision_config.intermediate_size": 5120,
    "vision_config.num_hidden_layers": 32,
    "vision_config.patch_size": 16,
    "vision_config.summary_tokens": 1,
}


def vit_layer(width: str, inner: str, *, bias: bool = True) -> list[Row]:
    """Return a vision transformer's layer with its queries, keys and values in one."""
    return [
        *norm("norm1", width, bias=True),
        *linear("attn.qkv", f"3 * {width}", width, bias=bias),
        *linear("attn.proj", width, width, bias=bias),
        *norm("norm2", width, bias=True),
        *linear("mlp.fc1", inner, width, bias=bias),
        *linear("mlp.fc2", width, inner, bias=bias),
    ]


def siglip_of_timm(name: str, width: str, inner: str, layers: str, side: int = 27) -> list[Row]:
    """Return timm's SigLIP of so many patches a side, pooled by attention to a latent."""
    pool = f"{name}.attn_pool"
    return [
        *conv(f"{name}.patch_embed.proj", width, 3, 14, 14),
        *tensor(f"{name}.pos_embed", side**2, width),
        *stack(f"{name}.blocks", layers, vit_layer(width, inner)),
        *norm(f"{name}.norm", width, bias=True),
        *tensor(f"{pool}.latent", width),
        *linear(f"{pool}.q", width, width),
        *linear(f"{pool}.kv", f"2 * {width}", width),
        *linear(f"{pool}.proj", width, width),
        *norm(f"{pool}.norm", width, bias=True),
        *linear(f"{pool}.mlp.fc1", inner, width),
        *linear(f"{pool}.mlp.fc2", width, inner),
    ]


def sam_with_neck(name: str, last: str) -> list[Row]:
    """Return DeepSeek-OCR's SAM: ViT-B over 64 x 64 patches, four layers of it over all, then a neck.

    Args:
        name: What it is called.
        last: Channels it ends with.
    """
    width, inner = "768", "3072"
    last_of_three = {"every": 3, "offset": 1}  # layers 2, 5, 8 and 11 see all patches
    kinds = {"True": _relative(127), "False": _relative(27)}
    return [
        *conv(f"{name}.patch_embed.proj", width, 3, 16, 16),
        *tensor(f"{name}.pos_embed", 64, 64, width),
        *stack(f"{name}.blocks", 12, vit_layer(width, inner), last_of_three, kinds),
        *conv(f"{name}.neck.0", 256, width, 1, 1, bias=False),
        *norm(f"{name}.neck.1", 256, bias=True),
        *conv(f"{name}.neck.2", 256, 256, 3, 3, bias=False),
        *norm(f"{name}.neck.3", 256, bias=True),
        *conv(f"{name}.net_2", 512, 256, 3, 3, bias=False),
        *conv(f"{name}.net_3", last, 512, 3, 3, bias=False),
    ]


def _relative(places: int) -> list[Row]:
    return [*tensor("attn.rel_pos_h", places, 64), *tensor("attn.rel_pos_w", places, 64)]


def resampler(name: str, queries: str, width: str, seen: str) -> list[Row]:
    """Return MiniCPM-V's resampler: learnt queries that attend to what a tower has seen."""
    return [
        *tensor(f"{name}.query", queries, width),
        *linear(f"{name}.kv_proj", width, seen, bias=False),
        *tensor(f"{name}.attn.in_proj_weight", f"3 * {width}", width),
        *tensor(f"{name}.attn.in_proj_bias", f"3 * {width}"),
        *linear(f"{name}.attn.out_proj", width, width),
        *norm(f"{name}.ln_q", width, bias=True),
        *norm(f"{name}.ln_kv", width, bias=True),
        *norm(f"{name}.ln_post", width, bias=True),
        *tensor(f"{name}.proj", width, width),
    ]


def radio(name: str, settings: str) -> list[Row]:
    """Return C-RADIO: a vision transformer with places for its largest image and summary tokens."""
    width, side = f"{settings}hidden_size", f"({settings}cpe_max_size // {settings}patch_size)"
    patches = f"(3 * {settings}patch_size ** 2)"
    return [
        *linear(f"{name}.patch_generator.embedder", width, patches, bias=False),
        *tensor(f"{name}.patch_generator.pos_embed", f"{side} ** 2", width),
        *tensor(f"{name}.patch_generator.cls_token.token", f"{settings}summary_tokens", width),
        *stack(
            f"{name}.blocks",
            f"{settings}num_hidden_layers",
            vit_layer(width, f"{settings}intermediate_size"),
        ),
    ]


def whisper_encoder(name: str, settings: str) -> list[Row]:
    """Return Whisper's encoder, whose keys have no bias."""
    width, inner = f"{settings}d_model", f"{settings}encoder_ffn_dim"
    layer = [
        *linear("self_attn.q_proj", width, width),
        *linear("self_attn.k_proj", width, width, bias=False),
        *linear("self_attn.v_proj", width, width),
        *linear("self_attn.out_proj", width, width),
        *norm("self_attn_layer_norm", width, bias=True),
        *linear("fc1", inner, width),
        *linear("fc2", width, inner),
        *norm("final_layer_norm", width, bias=True),
    ]
    return [
        *conv(f"{name}.conv1", width, f"{settings}num_mel_bins", 3),
        *conv(f"{name}.conv2", width, width, 3),
        *tensor(f"{name}.embed_positions.weight", f"{settings}max_source_positions", width),
        *stack(f"{name}.layers", f"{settings}encoder_layers", layer),
        *norm(f"{name}.layer_norm", width, bias=True),
    ]
