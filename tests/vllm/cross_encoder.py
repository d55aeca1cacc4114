"""A tiny cross-encoder with random weights, and the real tokenizer of the embedding model.

python tests/vllm/cross_encoder.py FOLDER TOKENIZER_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

__all__ = ["make_cross_encoder"]


def make_cross_encoder(folder: Path, tokenizer_folder: Path) -> None:
    """Write the model; the same seed gives the same weights, wide enough to tell documents apart."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=256,
        num_labels=1,
        initializer_range=0.3,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.model_max_length = 256
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    make_cross_encoder(Path(sys.argv[1]), Path(sys.argv[2]))
