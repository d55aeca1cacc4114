"""Pairs of an encoder and a decoder: of any kind, put together by transformers itself, and BLIP's."""

from __future__ import annotations

from collections.abc import Iterator

from .rows import Row, conv, linear, norm, stack, table, tensor, when
from .served import Served

__all__ = ["pairs"]


def pairs() -> Iterator[Served]:
    """Yield the architectures; a map lies between the two where their widths differ and nothing else joins them."""
    between = when(
        "has_projection", linear("enc_to_dec_proj", "decoder.hidden_size", "encoder.hidden_size")
    )
    source = "transformers 5.23.0 VisionEncoderDecoderLMHeadModel"
    towers = {"encoder": "vit", "decoder": "trocr"}
    yield Served("vision-encoder-decoder", source, between, towers=towers)
    yield _blip()


def _blip() -> Served:
    """BLIP, which tells what it sees: BERT's layers that attend to patches."""
    text, seen = "text_config.hidden_size", "text_config.encoder_hidden_size"
    rows = [
        *_blip_tower(),
        *_blip_ends(text),
        *stack("text_decoder.layer", "text_config.num_hidden_layers", _blip_layer(text, seen)),
    ]
    settings = {
        "text_config.encoder_hidden_size": 768,
        "text_config.hidden_size": 768,
        "text_config.intermediate_size": 3072,
        "text_config.max_position_embeddings": 512,
        "text_config.num_attention_heads": 8,
        "text_config.num_hidden_layers": 12,
        "text_config.tie_word_embeddings": True,
        "text_config.vocab_size": 30524,
        "vision_config.hidden_size": 768,
        "vision_config.image_size": 384,
        "vision_config.intermediate_size": 3072,
        "vision_config.num_hidden_layers": 12,
        "vision_config.patch_size": 16,
    }
    derived = {"text_config.num_key_value_heads": "text_config.num_attention_heads"}
    return Served(
        "blip", "transformers 5.23.0 BlipForConditionalGeneration", rows, settings, derived=derived
    )


def _blip_tower() -> list[Row]:
    width, inner = "vision_config.hidden_size", "vision_config.intermediate_size"
    patch, side = (
        "vision_config.patch_size",
        "(vision_config.image_size // vision_config.patch_size)",
    )
    layer = [
        *linear("self_attn.qkv", f"3 * {width}", width),
        *linear("self_attn.projection", width, width),
        *norm("layer_norm1", width, bias=True),
        *linear("mlp.fc1", inner, width),
        *linear("mlp.fc2", width, inner),
        *norm("layer_norm2", width, bias=True),
    ]
    return [
        *tensor("vision_model.embeddings.class_embedding", 1, 1, width),
        *conv("vision_model.embeddings.patch_embedding", width, 3, patch, patch),
        *tensor("vision_model.embeddings.position_embedding", 1, f"{side} ** 2 + 1", width),
        *stack("vision_model.encoder.layers", "vision_config.num_hidden_layers", layer),
        *norm("vision_model.post_layernorm", width, bias=True),
    ]


def _blip_ends(width: str) -> list[Row]:
    head, words = "text_decoder.lm_head", "text_config.vocab_size"
    return [
        *table("text_decoder.embeddings.word_embeddings", words, width),
        *table(
            "text_decoder.embeddings.position_embeddings",
            "text_config.max_position_embeddings",
            width,
        ),
        *norm("text_decoder.embeddings.LayerNorm", width, bias=True),
        *linear("text_decoder.transform.dense", width, width),
        *norm("text_decoder.transform.LayerNorm", width, bias=True),
        *tensor("text_decoder.bias", words),
        *when("tie_word_embeddings", tensor(f"{head}.weight", words, width), holds=False),
    ]


def _blip_layer(width: str, seen: str) -> list[Row]:
    def attention(name: str, keys: str) -> list[Row]:
        return [
            *linear(f"{name}.self.query", width, width),
            *linear(f"{name}.self.key", width, keys),
            *linear(f"{name}.self.value", width, keys),
            *linear(f"{name}.output.dense", width, width),
            *norm(f"{name}.output.LayerNorm", width, bias=True),
        ]

    return [
        *attention("attention", width),
        *attention("crossattention", seen),
        *linear("intermediate.dense", "text_config.intermediate_size", width),
        *linear("output.dense", width, "text_config.intermediate_size"),
        *norm("output.LayerNorm", width, bias=True),
    ]
