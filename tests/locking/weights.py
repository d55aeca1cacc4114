"""Weight files of a small model, whole and in shards."""

from __future__ import annotations

import json
import struct

__all__ = ["INDEX", "LLAMA", "SHARDS", "safetensors"]

LLAMA = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
LLAMA |= {"num_attention_heads": 4, "vocab_size": 100, "max_position_embeddings": 512}
LLAMA |= {"torch_dtype": "bfloat16", "tie_word_embeddings": False}
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = {"metadata": {}, "weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}


def safetensors(parameters: int) -> bytes:
    """A whole safetensors file of one bf16 tensor."""
    tensor = {"dtype": "BF16", "shape": [parameters], "data_offsets": [0, 2 * parameters]}
    header = json.dumps({"weight": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(2 * parameters)
