"""Models written down whole, the text model too."""

from __future__ import annotations

from collections.abc import Iterator

from .kimi import kimi_k3
from .rows import Row, conv, linear, norm, stack, table, tensor, when
from .seeing import HEAD, HIDDEN
from .served import Served
from .towers import vit_layer

__all__ = ["whole"]

DECODER = "model.layers"


def whole() -> Iterator[Served]:
    """Yield the architectures."""
    yield _grok()
    yield _molmo()
    yield _moondream()
    yield from _step3()
    yield kimi_k3()


def _attention(*, bias: bool = False) -> list[Row]:
    """Queries, keys and values of grouped heads, whose biases the caller adds, and what they give."""
    queries, keys = "num_attention_heads * head_dim", "num_key_value_heads * head_dim"
    return [
        *linear("self_attn.q_proj", queries, "hidden_size", bias=bias),
        *linear("self_attn.k_proj", keys, "hidden_size", bias=bias),
        *linear("self_attn.v_proj", keys, "hidden_size", bias=bias),
        *linear("self_attn.o_proj", "hidden_size", queries, bias=False),
    ]


def _forward(name: str, width: str) -> list[Row]:
    return [
        *linear(f"{name}.gate_proj", width, "hidden_size", bias=False),
        *linear(f"{name}.up_proj", width, "hidden_size", bias=False),
        *linear(f"{name}.down_proj", "hidden_size", width, bias=False),
    ]


def _experts(name: str, count: str, width: str) -> list[Row]:
    return [
        *linear(f"{name}.gate", count, "hidden_size", bias=False),
        *tensor(f"{name}.experts.gate_up_proj", count, f"2 * {width}", "hidden_size"),
        *tensor(f"{name}.experts.down_proj", count, "hidden_size", width),
    ]


def _ends(layers: list[Row]) -> list[Row]:
    head = tensor("lm_head.weight", "vocab_size", "hidden_size")
    return [
        *table("model.embed_tokens", "vocab_size", "hidden_size"),
        *layers,
        *norm("model.norm", "hidden_size"),
        *when("tie_word_embeddings", head, holds=False),
    ]


def _grok() -> Served:
    layer = [
        *_attention(),
        *_experts("block_sparse_moe", "num_local_experts", "moe_intermediate_size"),
        *when("residual_moe", _forward("mlp", "intermediate_size")),
        *norm("pre_attn_norm", "hidden_size"),
        *norm("post_attn_norm", "hidden_size"),
        *norm("pre_moe_norm", "hidden_size"),
        *norm("post_moe_norm", "hidden_size"),
    ]
    settings = {
        "head_dim": 128,
        "hidden_size": 6144,
        "intermediate_size": 32768,
        "max_position_embeddings": 8192,
        "num_attention_heads": 48,
        "num_experts_per_tok": 2,
        "num_hidden_layers": 64,
        "num_key_value_heads": 8,
        "num_local_experts": 8,
        "residual_moe": False,
        "tie_word_embeddings": False,
        "vocab_size": 131072,
    }
    rows = _ends(stack(DECODER, "num_hidden_layers", layer))
    derived = {"moe_intermediate_size": "intermediate_size"}
    return Served("grok-1", "SGLang 0.5.23 Grok1ForCausalLM", rows, settings, derived=derived)


def _molmo() -> Served:
    keys = "num_key_value_heads * head_dim"
    biases = [
        *tensor("self_attn.q_proj.bias", "hidden_size"),
        *tensor("self_attn.k_proj.bias", keys),
        *tensor("self_attn.v_proj.bias", keys),
    ]
    normed = [*norm("self_attn.q_norm", "hidden_size"), *norm("self_attn.k_norm", keys)]
    layer = [
        *_attention(),
        *when("qkv_bias", biases),
        *when("attention_layer_norm", normed),
        *_forward("mlp", "intermediate_size // 2"),
        *norm("input_layernorm", "hidden_size"),
        *norm("post_attention_layernorm", "hidden_size"),
    ]
    head = tensor("lm_head.weight", "embedding_size", "hidden_size")
    rows = [
        *table("model.embed_tokens", "embedding_size + 128", "hidden_size"),
        *stack(DECODER, "num_hidden_layers", layer),
        *norm("model.norm", "hidden_size"),
        *when("weight_tying", head, holds=False),
        *_molmo_tower(),
    ]
    settings = {
        "attention_layer_norm": False,
        "hidden_size": 3584,
        "intermediate_size": 37888,
        "max_position_embeddings": 4096,
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "qkv_bias": True,
        "vocab_size": 152064,
        "weight_tying": False,
    }
    derived = {
        "num_key_value_heads": "num_attention_heads",
        "embedding_size": "vocab_size",
        "head_dim": "hidden_size // num_attention_heads",
    }
    return Served("molmo", "vLLM 0.33 MolmoForCausalLM", rows, settings, derived=derived)


def _molmo_tower() -> list[Row]:
    """CLIP's first 23 layers, two of which are pooled and brought to the text's width."""
    layer = [
        *(row for one in "qkvo" for row in linear(f"attention.w{one}", 1024, 1024)),
        *linear("feed_forward.w1", 4096, 1024),
        *linear("feed_forward.w2", 1024, 4096),
        *norm("attention_norm", 1024, bias=True),
        *norm("ffn_norm", 1024, bias=True),
    ]
    tower, inner = "vision_backbone.image_vit", "intermediate_size // 2"
    return [
        *tensor(f"{tower}.class_embedding", 1024),
        *tensor(f"{tower}.positional_embedding", 577, 1024),
        *linear(f"{tower}.patch_embedding", 1024, 3 * 14 * 14, bias=False),
        *norm(f"{tower}.pre_ln", 1024, bias=True),
        *stack(f"{tower}.transformer.resblocks", 23, layer),
        *(
            row
            for one in "qkv"
            for row in linear(f"vision_backbone.image_pooling_2d.w{one}", 1024, 2048)
        ),
        *linear("vision_backbone.image_pooling_2d.wo", 1024, 1024),
        *linear("vision_backbone.image_projector.w1", inner, 1024, bias=False),
        *linear("vision_backbone.image_projector.w2", "hidden_size", inner, bias=False),
        *linear("vision_backbone.image_projector.w3", inner, 1024, bias=False),
        *tensor("vision_backbone.pad_embed", 2, 2048),
    ]


def _moondream() -> Served:
    """Moondream 2, whose config says no figure."""
    layer = [
        *norm("ln", "hidden_size", bias=True),
        *linear("attn.qkv", "3 * hidden_size", "hidden_size"),
        *linear("attn.proj", "hidden_size", "hidden_size"),
        *linear("mlp.fc1", "intermediate_size", "hidden_size"),
        *linear("mlp.fc2", "hidden_size", "intermediate_size"),
    ]
    rows = [
        *table("model.text.wte", "vocab_size", "hidden_size"),
        *stack("model.text.blocks", "num_hidden_layers", layer),
        *norm("model.text.post_ln", "hidden_size", bias=True),
        *linear("model.text.lm_head", "vocab_size", "hidden_size"),
        *conv("model.vision.patch_emb", 1152, 3, 14, 14),
        *tensor("model.vision.pos_emb", 27 * 27, 1152),
        *stack("model.vision.blocks", 27, vit_layer("1152", "4304")),
        *norm("model.vision.post_ln", 1152, bias=True),
        *linear("model.vision.proj_mlp.fc1", 8192, 2 * 1152),
        *linear("model.vision.proj_mlp.fc2", "hidden_size", 8192),
        *_regions(),
    ]
    settings = {
        "head_dim": 64,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "max_position_embeddings": 2048,
        "num_attention_heads": 32,
        "num_hidden_layers": 24,
        "num_key_value_heads": 32,
        "vocab_size": 51200,
    }
    pinned = {name: settings[name] for name in ("hidden_size", "num_hidden_layers", "vocab_size")}
    return Served("moondream1", "vikhyatk/moondream2 HfMoondream", rows, settings, pinned=pinned)


def _regions() -> list[Row]:
    """What points and boxes are read and written with."""
    region = "model.region"
    return [
        *tensor(f"{region}.coord_features", 1, 128),
        *tensor(f"{region}.size_features", 2, 256),
        *linear(f"{region}.coord_in", "hidden_size", 256),
        *linear(f"{region}.coord_out.fc1", 8192, "hidden_size"),
        *linear(f"{region}.coord_out.fc2", 1024, 8192),
        *linear(f"{region}.size_in", "hidden_size", 512),
        *linear(f"{region}.size_out.fc1", 8192, "hidden_size"),
        *linear(f"{region}.size_out.fc2", 2048, 8192),
    ]


STEP3 = {
    "head_dim": 256,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "max_position_embeddings": 65536,
    "moe_intermediate_size": 5120,
    "moe_num_experts": 48,
    "moe_top_k": 3,
    "num_attention_heads": 64,
    "num_hidden_layers": 61,
    "num_key_value_heads": 1,
    "share_expert_dim": 5120,
    "share_q_dim": 2048,
    "tie_word_embeddings": False,
    "vocab_size": 128815,
}


def _step3() -> Iterator[Served]:
    queries = "num_attention_heads * head_dim"
    layer = [
        *linear("self_attn.q_proj", "share_q_dim", "hidden_size", bias=False),
        *linear("self_attn.k_proj", "head_dim", "hidden_size", bias=False),
        *linear("self_attn.v_proj", "head_dim", "hidden_size", bias=False),
        *norm("self_attn.inter_norm", "share_q_dim"),
        *linear("self_attn.wq", queries, "share_q_dim", bias=False),
        *linear("self_attn.o_proj", "hidden_size", queries, bias=False),
        *norm("input_layernorm", "hidden_size"),
        *norm("post_attention_layernorm", "hidden_size"),
    ]
    sparse = _experts("moe", "moe_num_experts", "moe_intermediate_size")
    sparse += _forward("share_expert", "share_expert_dim")
    by, kinds = (
        {"list": "mlp_layer_types"},
        {"dense": _forward("mlp", "intermediate_size"), "sparse": sparse},
    )
    usual = {
        "count": "num_hidden_layers",
        "by": {"layer": 0},
        "values": {"True": "dense", "False": "sparse"},
    }
    yield Served(
        "step3_text",
        "vLLM 0.33 Step3TextForCausalLM",
        _ends(stack(DECODER, "num_hidden_layers", layer, by, kinds)),
        STEP3,
        lists={"mlp_layer_types": usual},
    )
    yield _step3_seeing()
    yield Served(
        "step3p5",
        "vLLM 0.33 Step3p5ForCausalLM",
        [],
        without=("model.vision_model", "model.multi_modal_projector"),
        extends="step3p7",
    )


def _step3_seeing() -> Served:
    width, inner = "vision_config.hidden_size", "vision_config.intermediate_size"
    patch, out = "vision_config.patch_size", "vision_config.output_hidden_size"
    tower = "vision_model"
    rows = [
        *tensor(f"{tower}.embeddings.class_embedding", 1, width),
        *conv(f"{tower}.embeddings.patch_embedding", width, 3, patch, patch),
        *table(
            f"{tower}.embeddings.position_embedding",
            f"(vision_config.image_size // {patch}) ** 2 + 1",
            width,
        ),
        *stack(
            f"{tower}.transformer.layers",
            "vision_config.num_hidden_layers",
            vit_layer(width, inner),
        ),
        *conv("vision_downsampler", out, width, 2, 2),
        *conv("vision_downsampler2", f"2 * {out}", out, 3, 3),
        *linear("vision_large_projector", HIDDEN, f"2 * {out}", bias=False),
        *HEAD,
    ]
    settings = {
        width: 1792,
        inner: 15360,
        patch: 14,
        out: 4096,
        "vision_config.image_size": 728,
        "vision_config.num_hidden_layers": 63,
    }
    source = "vLLM 0.33 Step3VLForConditionalGeneration"
    return Served("step3_vl", source, rows, settings, text="step3_text")
