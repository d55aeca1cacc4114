"""Models that embed, by the layers of their own code."""

from __future__ import annotations

from collections.abc import Iterator

from .rows import Row, linear, norm, stack, table, tensor, when
from .seeing import HIDDEN
from .served import Served
from .towers import SIGLIP_400M

__all__ = ["embedding"]

SIZES = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "type_vocab_size": 2,
    "vocab_size": 30528,
}


def embedding() -> Iterator[Served]:
    """Yield the architectures."""
    yield Served("jina_bert", "jinaai/jina-bert-implementation JinaBertModel", _jina(), SIZES)
    yield Served(
        "nomic_moe",
        "vLLM 0.33 NomicBertModel",
        _nomic(),
        {
            **SIZES,
            "max_position_embeddings": 2048,
            "moe_every_n_layers": 2,
            "moe_top_k": 2,
            "num_experts": 8,
            "type_vocab_size": 1,
        },
    )
    for known, name in (("t5", "T5"), ("mt5", "MT5"), ("umt5", "UMT5")):
        source, decoder = f"transformers 5.23.0 {name}EncoderModel", ("decoder.", "lm_head")
        yield Served(f"{known}_encoder", source, [], extends=known, without=decoder)
    yield Served("llama_bidirec", "vLLM 0.33 LlamaBidirectionalModel", [], text="llama")
    yield Served(
        "jina_adapted",
        "jinaai/xlm-roberta-flash-implementation XLMRobertaLoRAModel",
        _adapters(),
        {"lora_rank": 4},
        extends="jina_embeddings_v3",
    )
    yield _nemotron()


def _nemotron() -> Served:
    """A Llama that looks both ways, and SigLIP with its patches merged."""
    seen, inner = "(vit_hidden_size * int(1 / downsample_ratio) ** 2)", "projector_hidden_size"
    rows = [
        *norm("vision_projector.0", seen, bias=True),
        *linear("vision_projector.1", inner, seen),
        *linear("vision_projector.3", HIDDEN, inner),
    ]
    settings = {**SIGLIP_400M, "vision_config.image_size": 512, "vision_config.patch_size": 16}
    settings |= {"downsample_ratio": 0.5, "projector_hidden_size": 2048, "vit_hidden_size": 1152}
    source = "vLLM 0.33 LlamaNemotronVLModel"
    tower = {"vision_config": "siglip_vision_model"}
    return Served("llama_nemotron_vl", source, rows, settings, text="llama", towers=tower)


def _adapters() -> list[Row]:
    """An adapter for each task beside every map and table of Jina's XLM-RoBERTa, the pooler too."""

    def beside(name: str, outputs: str, inputs: str) -> list[Row]:
        return [
            *tensor(f"{name}.lora_A", f"len(lora_adaptations) * lora_rank * ({inputs})"),
            *tensor(f"{name}.lora_B", f"len(lora_adaptations) * lora_rank * ({outputs})"),
        ]

    layer = [
        *beside("mixer.Wqkv", "3 * hidden_size", "hidden_size"),
        *beside("mixer.out_proj", "hidden_size", "hidden_size"),
        *beside("mlp.fc1", "intermediate_size", "hidden_size"),
        *beside("mlp.fc2", "hidden_size", "intermediate_size"),
    ]
    return [
        *beside("embeddings.word_embeddings", "vocab_size", "hidden_size"),
        *beside("embeddings.token_type_embeddings", "type_vocab_size", "hidden_size"),
        *stack("adapters.layers", "num_hidden_layers", layer),
        *beside("pooler.dense", "hidden_size", "hidden_size"),
    ]


def _embeddings() -> list[Row]:
    return [
        *table("embeddings.word_embeddings", "vocab_size", "hidden_size"),
        *table("embeddings.token_type_embeddings", "type_vocab_size", "hidden_size"),
        *norm("embeddings.LayerNorm", "hidden_size", bias=True),
    ]


def _jina() -> list[Row]:
    """BERT without positions, its feed-forward gated."""
    normed = norm("attention.self.layer_norm_q", "hidden_size", bias=True)
    normed += norm("attention.self.layer_norm_k", "hidden_size", bias=True)
    layer = [
        *(
            row
            for name in ("self.query", "self.key", "self.value", "output.dense")
            for row in linear(f"attention.{name}", "hidden_size", "hidden_size")
        ),
        *when("qk_post_norm", normed),
        *norm("attention.output.LayerNorm", "hidden_size", bias=True),
        *linear("mlp.gated_layers", "2 * intermediate_size", "hidden_size", bias=False),
        *linear("mlp.wo", "hidden_size", "intermediate_size"),
        *norm("mlp.layernorm", "hidden_size", bias=True),
    ]
    pooler = linear("pooler.dense", "hidden_size", "hidden_size")
    return [*_embeddings(), *stack("encoder.layer", "num_hidden_layers", layer), *pooler]


def _nomic() -> list[Row]:
    """BERT with rotary positions; every other layer's feed-forward is experts with one bias."""
    layer = [
        *linear("attn.Wqkv", "3 * hidden_size", "hidden_size"),
        *linear("attn.out_proj", "hidden_size", "hidden_size"),
        *norm("norm1", "hidden_size", bias=True),
        *norm("norm2", "hidden_size", bias=True),
    ]
    dense = [
        *linear("mlp.fc1", "intermediate_size", "hidden_size"),
        *linear("mlp.fc2", "hidden_size", "intermediate_size"),
    ]
    sparse = [
        *linear("mlp.router.layer", "num_experts", "hidden_size", bias=False),
        *tensor("mlp.experts.w1", "num_experts", "intermediate_size", "hidden_size"),
        *tensor("mlp.experts.w2", "num_experts", "intermediate_size", "hidden_size"),
        *tensor("mlp.experts.bias", "hidden_size"),
    ]
    by = {"every": "moe_every_n_layers", "offset": -1}
    kinds = {"True": sparse, "False": dense}
    return [*_embeddings(), *stack("encoder.layers", "num_hidden_layers", layer, by, kinds)]
