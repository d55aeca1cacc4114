"""Models that see, around a text model that they hold: what lies between the two, and towers of their own."""

from __future__ import annotations

from collections.abc import Iterator

from .rows import Row, conv, linear, norm, stack, tensor, when
from .served import Served
from .towers import (
    CLIP_LARGE,
    RADIO_HUGE,
    SIGLIP_400M,
    radio,
    resampler,
    sam_with_neck,
    siglip_of_timm,
)

__all__ = ["HEAD", "HIDDEN", "seeing"]

HIDDEN = "text_config.hidden_size"
HEAD = when(
    "tie_word_embeddings",
    tensor("lm_head.weight", "text_config.vocab_size", HIDDEN),
    holds=False,
)


def seeing() -> Iterator[Served]:
    """Yield the architectures."""
    yield _dots()
    yield _phi3()
    yield _deepseek_vl()
    yield _deepseek_ocr()
    yield _deepseek_ocr_2()
    yield _got_ocr()
    yield _minicpm()
    yield from _nemotron()
    yield from _ovis()
    yield _phi4()


def _dots() -> Served:
    width, inner = "vision_config.embed_dim", "vision_config.intermediate_size"
    merged = f"({width} * vision_config.spatial_merge_size ** 2)"
    attention = [("attn.qkv", f"3 * {width}", width), ("attn.proj", width, width)]
    forward = [("mlp.fc1", inner, width), ("mlp.fc2", width, inner), ("mlp.fc3", inner, width)]
    maps = attention + forward
    biases = [row for name, outputs, _ in maps for row in tensor(f"{name}.bias", outputs)]
    layer = [
        *norm("norm1", width),
        *(row for one in maps for row in linear(*one, bias=False)),
        *when("vision_config.use_bias", biases),
        *norm("norm2", width),
    ]
    patch = ("vision_config.patch_size", "vision_config.patch_size")
    rows = [
        *conv(
            "vision_tower.patch_embed.patchifier.proj", width, "vision_config.num_channels", *patch
        ),
        *norm("vision_tower.patch_embed.patchifier.norm", width),
        *stack("vision_tower.blocks", "vision_config.num_hidden_layers", layer),
        *when("vision_config.post_norm", norm("vision_tower.post_trunk_norm", width)),
        *norm("vision_tower.merger.ln_q", width, bias=True),
        *linear("vision_tower.merger.mlp.0", merged, merged),
        *linear("vision_tower.merger.mlp.2", "vision_config.hidden_size", merged),
        *HEAD,
    ]
    settings = {
        "vision_config.embed_dim": 1536,
        "vision_config.hidden_size": 1536,
        "vision_config.intermediate_size": 4224,
        "vision_config.num_attention_heads": 12,
        "vision_config.num_channels": 3,
        "vision_config.num_hidden_layers": 42,
        "vision_config.patch_size": 14,
        "vision_config.post_norm": True,
        "vision_config.spatial_merge_size": 2,
        "vision_config.use_bias": False,
    }
    return Served("dots_ocr", "vLLM 0.33 DotsOCRForCausalLM", rows, settings, text="qwen2")


def _phi3() -> Served:
    seen = "4 * vision_config.hidden_size"
    around = "model.vision_embed_tokens"
    rows = [
        *tensor(f"{around}.glb_GN", 1, 1, seen),
        *tensor(f"{around}.sub_GN", 1, 1, 1, seen),
        *linear(f"{around}.img_projection.0", HIDDEN, seen),
        *linear(f"{around}.img_projection.2", HIDDEN, HIDDEN),
        *HEAD,
    ]
    source = "vLLM 0.33 Phi3VForCausalLM"
    tower = {"vision_config": "clip_vision_model"}
    return Served("phi3_v", source, rows, CLIP_LARGE, text="phi3", towers=tower)


INTO = "projector_config.n_embed"
BETWEEN = [*tensor("image_newline", INTO), *tensor("view_seperator", INTO), *HEAD]


def _deepseek_vl() -> Served:
    width, widened = "vision_config.width", f"{INTO} * projector_config.mlp_ratio"
    merged = "projector_config.input_dim * projector_config.downsample_ratio ** 2"
    inner = f"int({width} * vision_config.mlp_ratio)"
    rows = [
        *siglip_of_timm("vision", width, inner, "vision_config.layers"),
        *linear("projector.layers.0", widened, merged),
        *linear("projector.layers.2", INTO, widened),
        *BETWEEN,
    ]
    settings = {
        "projector_config.downsample_ratio": 2,
        "projector_config.input_dim": 1152,
        "projector_config.mlp_ratio": 1,
        "projector_config.n_embed": 2048,
        "vision_config.layers": 27,
        "vision_config.mlp_ratio": 3.7362,
        "vision_config.width": 1152,
    }
    source = "vLLM 0.33 DeepseekVLV2ForCausalLM"
    pinned = {"projector_config.depth": 2, "vision_config.patch_size": 14}
    return Served("deepseek_vl_v2", source, rows, settings, text="deepseek_v2", pinned=pinned)


def _deepseek_ocr() -> Served:
    rows = [
        *sam_with_neck("vision_sam", "1024"),
        *linear("projector.layers", INTO, "projector_config.input_dim"),
        *BETWEEN,
    ]
    settings = {**CLIP_LARGE, "vision_config.image_size": 224}
    settings |= {"projector_config.input_dim": 2048, "projector_config.n_embed": 1280}
    return Served(
        "deepseek_ocr",
        "vLLM 0.33 DeepseekOCRForCausalLM",
        rows,
        settings,
        text="deepseek_v2",
        towers={"vision_config": "clip_vision_model"},
        without=("vision_tower.post_layernorm",),
    )


def _deepseek_ocr_2() -> Served:
    """DeepSeek-OCR 2: behind the SAM, Qwen2's smallest layers read patches and learnt queries."""
    width, inner = 896, 4864
    layer = [
        *linear("self_attn.q_proj", width, width),
        *linear("self_attn.k_proj", 128, width),
        *linear("self_attn.v_proj", 128, width),
        *linear("self_attn.o_proj", width, width, bias=False),
        *linear("mlp.gate_proj", inner, width, bias=False),
        *linear("mlp.up_proj", inner, width, bias=False),
        *linear("mlp.down_proj", width, inner, bias=False),
        *norm("input_layernorm", width),
        *norm("post_attention_layernorm", width),
    ]
    rows = [
        *sam_with_neck("vision_sam", str(width)),
        *stack("vision_qwen2.layers", 24, layer),
        *norm("vision_qwen2.norm", width),
        *tensor("vision_queries.weight", 144 + 256, width),
        *linear("projector.layers", INTO, width),
        *tensor("view_seperator", INTO),
        *HEAD,
    ]
    settings = {"projector_config.n_embed": 1280}
    source = "vLLM 0.33 DeepseekOCR2ForCausalLM"
    return Served("deepseek_ocr_2", source, rows, settings, text="deepseek_v2")


def _got_ocr() -> Served:
    """GOT-OCR 2, whose SAM the class takes as it is published."""
    rows = [
        *sam_with_neck("vision_tower", "1024"),
        *linear("multi_modal_projector.multimodal_projector", HIDDEN, 1024),
        *HEAD,
    ]
    settings = {
        "text_config.hidden_size": 1024,
        "text_config.intermediate_size": 2816,
        "text_config.num_attention_heads": 16,
        "text_config.num_hidden_layers": 24,
        "text_config.num_key_value_heads": 16,
        "text_config.tie_word_embeddings": True,
        "text_config.vocab_size": 151860,
    }
    pinned = {
        "vision_config.hidden_size": 768,
        "vision_config.num_hidden_layers": 12,
        "vision_config.output_channels": 256,
    }
    source = "transformers 5.23.0 GotOcr2ForConditionalGeneration"
    return Served("got_ocr2", source, rows, settings, text="qwen2", pinned=pinned)


def _minicpm() -> Served:
    rows = [*resampler("resampler", "query_num", HIDDEN, "vision_config.hidden_size"), *HEAD]
    return Served(
        "minicpmv",
        "vLLM 0.33 MiniCPMV2_6",
        rows,
        {**SIGLIP_400M, "query_num": 64},
        text="qwen2",
        towers={"vision_config": "siglip_vision_model"},
    )


def _nemotron() -> Iterator[Served]:
    seen, inner = "(vit_hidden_size * int(1 / downsample_ratio) ** 2)", "projector_hidden_size"
    tower = radio("vision_model", "vision_config.")
    settings = {**RADIO_HUGE, "downsample_ratio": 0.5, "vit_hidden_size": 1280}

    def projector(*, bias: bool) -> list[Row]:
        return [
            *norm("vision_projector.0", seen, bias=bias),
            *linear("vision_projector.1", inner, seen, bias=bias),
            *linear("vision_projector.3", HIDDEN, inner, bias=bias),
        ]

    yield Served(
        "Llama_Nemotron_Nano_VL",
        "vLLM 0.33 LlamaNemotronVLChat",
        [*tower, *projector(bias=True), *HEAD],
        {**settings, "projector_hidden_size": 4096},
        text="llama",
    )
    yield Served(
        "NemotronH_Nano_VL_V2",
        "vLLM 0.33 NemotronH_Nano_VL_V2",
        [*tower, *projector(bias=False), *HEAD],
        {**settings, "projector_hidden_size": 20480},
        text="nemotron_h",
    )


def _ovis() -> Iterator[Served]:
    """Ovis, which turns patches into words of a visual vocabulary and those into what the text model takes."""
    width, words = "(vision_config.hidden_size * hidden_stride ** 2)", "visual_vocab_size"

    def around(marks: int) -> list[Row]:
        return [
            *linear("visual_tokenizer.head.0", f"{words} - {marks}", width, bias=False),
            *norm("visual_tokenizer.head.1", f"{words} - {marks}", bias=True),
            *tensor("visual_table.weight", words, HIDDEN),
            *HEAD,
        ]

    settings = {"hidden_stride": 2, "visual_vocab_size": 65536}
    siglip = {**SIGLIP_400M, "vision_config.image_size": 512, "vision_config.patch_size": 16}
    tower = {"vision_config": "siglip_vision_model"}
    source = "vLLM 0.33 Ovis2_5"
    yield Served("ovis2_5", source, around(4), settings | siglip, text="qwen3", towers=tower)
    tower = {"vision_config": "ovis_aimv2"}
    yield Served("ovis", "vLLM 0.33 Ovis", around(5), settings, text="qwen2", towers=tower)
    yield _aimv2()


def _aimv2() -> Served:
    """AIMv2 as Ovis 2 has it."""
    bias, width, inner = "use_bias", "hidden_size", "intermediate_size"
    maps = [
        *(("attn.qkv", f"3 * {width}", width), ("attn.proj", width, width)),
        *(("mlp.fc1", inner, width), ("mlp.fc2", width, inner), ("mlp.fc3", inner, width)),
    ]
    layer = [
        *norm("norm_1", width),
        *(row for one in maps for row in linear(*one, bias=False)),
        *when("qkv_bias", tensor("attn.qkv.bias", f"3 * {width}")),
        *(row for one in maps[1:] for row in when(bias, tensor(f"{one[0]}.bias", one[1]))),
        *norm("norm_2", width),
    ]
    rows = [
        *conv("preprocessor.patchifier.proj", width, "num_channels", "patch_size", "patch_size"),
        *norm("preprocessor.patchifier.norm", width),
        *tensor("preprocessor.pos_embed", "(image_size // patch_size) ** 2", width),
        *stack("trunk.blocks", "num_hidden_layers", layer),
        *norm("trunk.post_trunk_norm", width),
    ]
    settings = {
        "hidden_size": 1024,
        "image_size": 448,
        "intermediate_size": 2816,
        "num_attention_heads": 8,
        "num_channels": 3,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "qkv_bias": False,
        "use_bias": False,
    }
    return Served("ovis_aimv2", "vLLM 0.33 AIMv2Model", rows, settings)


def _phi4() -> Served:
    """Phi-4-multimodal as Microsoft publishes it: adapters for what it sees and hears in every layer."""
    queries, keys = "num_attention_heads * head_dim", "num_key_value_heads * head_dim"
    maps = {
        "self_attn.qkv_proj": (f"{queries} + 2 * {keys}", "hidden_size"),
        "self_attn.o_proj": ("hidden_size", queries),
        "mlp.gate_up_proj": ("2 * intermediate_size", "hidden_size"),
        "mlp.down_proj": ("hidden_size", "intermediate_size"),
    }
    layer = [
        row
        for name, (outputs, inputs) in maps.items()
        for what, rank in (("vision", "vision_lora_rank"), ("audio", "speech_lora_rank"))
        for row in (
            *tensor(f"{name}.lora_A.{what}.weight", rank, inputs),
            *tensor(f"{name}.lora_B.{what}.weight", outputs, rank),
        )
    ]
    rows = [
        *stack("model.layers", "num_hidden_layers", layer),
        *tensor("audio_mean_and_deviation", 2, 80),
    ]
    settings = {
        "audio_config.bias_max_distance": 500,
        "speech_lora_rank": 320,
        "vision_lora_rank": 256,
    }
    source = "vLLM 0.33 Phi4MMForCausalLM"
    return Served("phi4mm", source, rows, settings, extends="phi4_multimodal")
