"""Configs of models that several tests size."""

from __future__ import annotations

__all__ = ["llama"]


def llama(
    layers: int, hidden_size: int, intermediate_size: int, **others: object
) -> dict[str, object]:
    """The config of a Llama in 16 bits with an output head of its own; eight key-value heads."""
    return {
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden_size // 128,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
        "max_position_embeddings": 131_072,
        "tie_word_embeddings": False,
    } | others
