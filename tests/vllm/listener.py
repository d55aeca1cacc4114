"""A tiny Whisper with random weights: it hears nothing, and has all that serving one takes.

python tests/vllm/listener.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

__all__ = ["make_listener"]

_END, _START = "<|endoftext|>", "<|startoftranscript|>"
_MARKS = (_START, "<|en|>", "<|translate|>", "<|transcribe|>", "<|notimestamps|>")


def make_listener(folder: Path) -> None:
    """Write the model, a tokenizer of single bytes and Whisper's marks, and what makes sound numbers."""
    letters = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = WhisperTokenizer(vocab=letters, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(_MARKS)})
    start, end = tokenizer.convert_tokens_to_ids([_START, _END])
    torch.manual_seed(7)
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
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)


if __name__ == "__main__":
    make_listener(Path(sys.argv[1]))
