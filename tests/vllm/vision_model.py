"""A tiny Idefics3: small-chat writes its answers, and a tower with random weights looks at pictures.

python tests/vllm/vision_model.py FOLDER SMALL_CHAT_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    PreTrainedTokenizerBase,
)

__all__ = ["SIDE", "make_vision_model"]

SIDE, _PATCH, _MERGED = 32, 8, 2
_SEEN = (SIDE // _PATCH // _MERGED) ** 2
_MARKS = ("<fake_token_around_image>", "<image>", "<global-img>", "<end_of_utterance>")


def make_vision_model(folder: Path, chat_folder: Path) -> None:
    """Write the model, its tokenizer and what makes pictures numbers; without a picture it is small-chat."""
    tokenizer = AutoTokenizer.from_pretrained(chat_folder)
    tokenizer.add_special_tokens({"additional_special_tokens": list(_MARKS)})
    torch.manual_seed(7)
    chat = AutoModelForCausalLM.from_pretrained(chat_folder, dtype=torch.float32)
    chat.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model = Idefics3ForConditionalGeneration(_config(chat.config, tokenizer))
    model.model.text_model.load_state_dict(chat.model.state_dict())
    for weights in model.model.connector.parameters():
        torch.nn.init.normal_(weights, std=2.0)  # loud enough to change an answer
    model.generation_config = chat.generation_config
    model.save_pretrained(folder)
    sides = {"size": {"longest_edge": SIDE}, "max_image_size": {"longest_edge": SIDE}}
    pictures = Idefics3ImageProcessorPil(do_image_splitting=False, **sides)
    Idefics3Processor(pictures, tokenizer, image_seq_len=_SEEN).save_pretrained(folder)


def _config(text: LlamaConfig, tokenizer: PreTrainedTokenizerBase) -> Idefics3Config:
    tower = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": _PATCH,
        "initializer_range": 0.3,  # wide enough to tell pictures apart
    }
    return Idefics3Config(
        text_config=text.to_dict(),
        vision_config=tower,
        scale_factor=_MERGED,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )


if __name__ == "__main__":
    make_vision_model(Path(sys.argv[1]), Path(sys.argv[2]))
