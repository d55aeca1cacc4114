"""Kimi-K3: Kimi Linear's layers with gates of full rank and experts in a narrower space, and its tower."""

from __future__ import annotations

from .rows import Row, conv, linear, norm, stack, table, tensor, when
from .seeing import HEAD, HIDDEN
from .served import Served

__all__ = ["kimi_k3"]

T, V = "text_config.", "vision_config."
DELTA = f"{T}linear_attn_config."
SPREAD = f"({DELTA}num_heads * {DELTA}head_dim)"
HEADS = f"{T}num_attention_heads"
VALUES = f"{HEADS} * {T}v_head_dim"
LATENT = f"{T}routed_expert_hidden_size"
RESIDUAL = f"{T}attn_res_block_size"


def kimi_k3() -> Served:
    """Return the architecture."""
    layer = [
        *norm("input_layernorm", HIDDEN),
        *norm("post_attention_layernorm", HIDDEN),
        *when(RESIDUAL, _looking_back("self_attention_res") + _looking_back("mlp_res")),
    ]
    attention = {"full_attention": _latent(), "linear_attention": _delta()}
    forward = {"dense": _forward("mlp", f"{T}intermediate_size"), "sparse": _sparse()}
    (layers,) = stack("model.layers", f"{T}num_hidden_layers", layer)
    for name, cases in ((f"{T}layer_types", attention), (f"{T}mlp_layer_types", forward)):
        layers["parts"].append({"part": name, "by": {"list": name}, "cases": cases})
    rows = [
        *table("model.embed_tokens", f"{T}vocab_size", HIDDEN),
        layers,
        *norm("model.norm", HIDDEN),
        *when(RESIDUAL, _looking_back("model.output_attn_res")),
        *HEAD,
        *_tower(),
    ]
    source = "vLLM 0.33 KimiK3ForConditionalGeneration"
    empty = {f"{T}layer_types": {}, f"{T}mlp_layer_types": {}}
    return Served("kimi_k3", source, rows, DEFAULTS, lists=empty)


DEFAULTS = {
    f"{T}attn_res_block_size": None,
    f"{T}first_k_dense_replace": 0,
    f"{T}latent_moe_use_norm": False,
    f"{T}max_position_embeddings": 4096,
    f"{T}mla_use_output_gate": False,
    f"{T}num_shared_experts": 0,
    f"{T}q_lora_rank": None,
    f"{T}routed_expert_hidden_size": None,
    f"{T}tie_word_embeddings": False,
    f"{T}vocab_size": 163840,
    f"{V}attn_bias": False,
    f"{V}init_pos_emb_height": 64,
    f"{V}init_pos_emb_width": 64,
    f"{V}linear_bias": False,
    f"{V}patch_embed_proj_bias": False,
    f"{V}patch_size": 14,
    f"{V}qkv_hidden_size": 1536,
    f"{V}vt_hidden_size": 1024,
    f"{V}vt_intermediate_size": 4096,
    f"{V}vt_num_hidden_layers": 27,
}


def _looking_back(name: str) -> list[Row]:
    """What weighs the outputs of earlier blocks of layers."""
    return [*norm(f"{name}_norm", HIDDEN), *linear(f"{name}_proj", 1, HIDDEN, bias=False)]


def _latent() -> list[Row]:
    """Latent attention without positions."""
    rank, keys = f"{T}kv_lora_rank", f"({T}qk_nope_head_dim + {T}qk_rope_head_dim)"
    queries = f"{T}q_lora_rank"
    ranked = [
        *linear("self_attn.q_a_proj", queries, HIDDEN, bias=False),
        *norm("self_attn.q_a_layernorm", queries),
        *linear("self_attn.q_b_proj", f"{HEADS} * {keys}", queries, bias=False),
    ]
    direct = linear("self_attn.q_proj", f"{HEADS} * {keys}", HIDDEN, bias=False)
    gate = linear("self_attn.g_proj", VALUES, HIDDEN, bias=False)
    both = f"{HEADS} * ({T}qk_nope_head_dim + {T}v_head_dim)"
    return [
        *when(queries, ranked),
        *when(queries, direct, holds=False),
        *linear(
            "self_attn.kv_a_proj_with_mqa", f"{rank} + {T}qk_rope_head_dim", HIDDEN, bias=False
        ),
        *norm("self_attn.kv_a_layernorm", rank),
        *linear("self_attn.kv_b_proj", both, rank, bias=False),
        *when(f"{T}mla_use_output_gate", gate),
        *linear("self_attn.o_proj", HIDDEN, VALUES, bias=False),
    ]


def _delta() -> list[Row]:
    """Kimi delta attention."""
    head, heads, gate = f"{DELTA}head_dim", f"{DELTA}num_heads", f"{DELTA}use_full_rank_gate"
    narrow = [
        *linear("self_attn.g_a_proj", head, HIDDEN, bias=False),
        *linear("self_attn.g_b_proj", SPREAD, head, bias=False),
    ]
    return [
        *(
            row
            for one in "qkv"
            for row in linear(f"self_attn.{one}_proj", SPREAD, HIDDEN, bias=False)
        ),
        *tensor("self_attn.conv1d.weight", f"3 * {SPREAD}", 1, f"{DELTA}short_conv_kernel_size"),
        *tensor("self_attn.forget_gate.dt_bias", SPREAD),
        *tensor("self_attn.forget_gate.A_log", 1, 1, heads, 1),
        *linear("self_attn.forget_gate.f_a_proj", head, HIDDEN, bias=False),
        *linear("self_attn.forget_gate.f_b_proj", SPREAD, head, bias=False),
        *linear("self_attn.b_proj", heads, HIDDEN, bias=False),
        *when(gate, linear("self_attn.g_proj", SPREAD, HIDDEN, bias=False)),
        *when(gate, narrow, holds=False),
        *norm("self_attn.o_norm", head),
        *linear("self_attn.o_proj", HIDDEN, SPREAD, bias=False),
    ]


def _forward(name: str, width: str) -> list[Row]:
    return [
        *linear(f"{name}.gate_proj", width, HIDDEN, bias=False),
        *linear(f"{name}.up_proj", width, HIDDEN, bias=False),
        *linear(f"{name}.down_proj", HIDDEN, width, bias=False),
    ]


def _sparse() -> list[Row]:
    """Experts in a narrower space that a map leads into and another out of, where the config has one."""
    count, width = f"{T}num_experts", f"{T}moe_intermediate_size"

    def experts(inside: str) -> list[Row]:
        return [
            *tensor("mlp.experts.gate_up_proj", count, f"2 * {width}", inside),
            *tensor("mlp.experts.down_proj", count, inside, width),
        ]

    narrow = [
        *experts(LATENT),
        *linear("mlp.routed_expert_down_proj", LATENT, HIDDEN, bias=False),
        *when(f"{T}latent_moe_use_norm", norm("mlp.routed_expert_norm", LATENT)),
        *linear("mlp.routed_expert_up_proj", HIDDEN, LATENT, bias=False),
    ]
    shared = _forward("mlp.shared_experts", f"{width} * {T}num_shared_experts")
    return [
        *linear("mlp.gate", count, HIDDEN, bias=False),
        *when(LATENT, narrow),
        *when(LATENT, experts(HIDDEN), holds=False),
        *when(f"{T}num_shared_experts", shared),
    ]


def _tower() -> list[Row]:
    """MoonViT, and the merger of its patches."""
    width, inner, spread = f"{V}vt_hidden_size", f"{V}vt_intermediate_size", f"{V}qkv_hidden_size"
    maps = {
        f"{V}attn_bias": [("wqkv", f"3 * {spread}", width), ("wo", width, spread)],
        f"{V}linear_bias": [("mlp.fc0", inner, width), ("mlp.fc1", width, inner)],
    }
    layer = [*norm("norm0", width), *norm("norm1", width)]
    for switch, found in maps.items():
        for name, outputs, inputs in found:
            layer += linear(name, outputs, inputs, bias=False)
            layer += when(switch, tensor(f"{name}.bias", outputs))
    places = (f"{V}init_pos_emb_height", f"{V}init_pos_emb_width")
    patch = "vision_tower.patch_embed"
    return [
        *conv(f"{patch}.proj", width, 3, f"{V}patch_size", f"{V}patch_size", bias=False),
        *when(f"{V}patch_embed_proj_bias", tensor(f"{patch}.proj.bias", width)),
        *tensor(f"{patch}.pos_emb.weight", *places, width),
        *stack("vision_tower.encoder.blocks", f"{V}vt_num_hidden_layers", layer),
        *norm("vision_tower.encoder.final_layernorm", width),
        *linear("mm_projector.linear_1", f"4 * {width}", f"4 * {width}", bias=False),
        *linear("mm_projector.linear_2", HIDDEN, f"4 * {width}", bias=False),
        *norm("mm_projector.post_norm", HIDDEN),
    ]
