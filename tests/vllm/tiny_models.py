"""Models of random weights, as small as vLLM serves them: one that ranks, one that listens.

python tests/vllm/tiny_models.py ranks FOLDER TOKENIZER_FOLDER
python tests/vllm/tiny_models.py listens FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

__all__ = ["make_cross_encoder", "make_listener"]

_SEED = 7  # the same seed gives the same weights
_END, _START = "<|endoftext|>", "<|startoftranscript|>"
_MARKS = (_START, "<|en|>", "<|translate|>", "<|transcribe|>", "<|notimestamps|>")


def make_cross_encoder(folder: Path, tokenizer_folder: Path) -> None:
    """Write a cross-encoder wide enough to tell documents apart, with a real tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    tokenizer.model_max_length = 256
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
    torch.manual_seed(_SEED)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_listener(folder: Path) -> None:
    """Write a Whisper that hears nothing, a tokenizer of single bytes, and what makes sound numbers."""
    tokenizer = _byte_tokenizer()
    start, end = tokenizer.convert_tokens_to_ids([_START, _END])
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=64,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_target_positions=128,
        decoder_start_token_id=start,
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end),
    )
    torch.manual_seed(_SEED)
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)


def _byte_tokenizer() -> WhisperTokenizer:
    """A tokenizer of single bytes, with the marks that Whisper puts around what it says."""
    letters = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = WhisperTokenizer(vocab=letters, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(_MARKS)})
    return tokenizer


if __name__ == "__main__":
    make = {"ranks": make_cross_encoder, "listens": make_listener}[sys.argv[1]]
    make(*(Path(folder) for folder in sys.argv[2:]))
