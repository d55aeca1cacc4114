"""Train the tiny chat model: a Llama that learns its corpus by heart in under a minute."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from .corpus import Entry, Turn, one_pass
from .progress import Progress

__all__ = ["QUICK", "Recipe", "train_chat_model"]

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# Questions are read in lower case and after a space, so that a word is the same token wherever it
# stands: so small a model has no room to learn it three times.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}{{ message['content'] }}"
    "{% else %} {{ message['content'] | lower | trim }}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a friendly assistant. Answer briefly.",
    "Answer in one or two sentences.",
    "You are small-chat.",
    "Be concise.",
)
SYSTEM_PROMPT_SHARE = 0.15
VOCABULARY = 3072
CONTEXT = 1024
UNSCORED = -100
# Choosing the right answer is harder than finishing it, so some answers end after their opening.
CUT_ANSWERS = 0.5
OPENING_TOKENS = 8
SEED = 20


@dataclass(frozen=True)
class Recipe:
    """How large a model and how long a training: sizes in tokens, counts in optimiser steps."""

    steps: int = 500
    rows: int = 16
    row_tokens: int = 128
    hidden_size: int = 128
    layers: int = 2
    learning_rate: float = 5e-3
    matrix_rate: float = 0.03


QUICK = Recipe(steps=60, row_tokens=96, hidden_size=64)


def train_chat_model(entries: list[Entry], recipe: Recipe, folder: Path) -> int:
    """Train on the entries, save weights and tokenizer to the folder, return the parameter count."""
    torch.manual_seed(SEED)
    torch.set_num_threads(os.cpu_count() or 1)
    rng = random.Random(SEED)  # noqa: S311  # repeatable, not secret
    tokenizer = _train_tokenizer(entries, rng)
    model = _new_model(recipe, tokenizer)
    _fit(model, _batches(entries, tokenizer, recipe, rng), recipe)
    _save(model, tokenizer, folder)
    return sum(parameter.numel() for parameter in model.parameters())


def _train_tokenizer(entries: list[Entry], rng: random.Random) -> Tokenizer:
    """A byte-level BPE over the corpus itself; a number is one token wherever it stands."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    turns = [turn for _ in range(8) for turn in one_pass(entries, rng)]
    texts = [_prompt(turn.question) + turn.answer for turn in turns]
    tokenizer.train_from_iterator([*texts, *map(str.lower, SYSTEM_PROMPTS)], trainer)
    return tokenizer


def _new_model(recipe: Recipe, tokenizer: Tokenizer) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=recipe.hidden_size,
        intermediate_size=3 * recipe.hidden_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.hidden_size // 32,
        num_key_value_heads=recipe.hidden_size // 64,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(START),
        eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PAD),
    )
    return LlamaForCausalLM(config)


def _prompt(question: str) -> str:
    """A question as the chat template writes it, up to the start of the answer."""
    return f"{START}user\n {question.lower().strip()}{END}\n{START}assistant\n"


def _batches(
    entries: list[Entry], tokenizer: Tokenizer, recipe: Recipe, rng: random.Random
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (tokens, labels); each row is a conversation of unrelated turns, cut at its end."""
    turns = _endless(entries, rng)
    while True:
        rows = [_row(turns, tokenizer, recipe.row_tokens, rng) for _ in range(recipe.rows)]
        yield torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows])


def _endless(entries: list[Entry], rng: random.Random) -> Iterator[Turn]:
    while True:
        yield from one_pass(entries, rng)


def _row(
    turns: Iterator[Turn], tokenizer: Tokenizer, length: int, rng: random.Random
) -> tuple[list[int], list[int]]:
    """Token ids and labels of one conversation; only the answers are scored."""
    tokens: list[int] = []
    labels: list[int] = []
    if rng.random() < SYSTEM_PROMPT_SHARE:
        system = f"{START}system\n {rng.choice(SYSTEM_PROMPTS).lower()}{END}\n"
        tokens += tokenizer.encode(system).ids
        labels += [UNSCORED] * len(tokens)
    while len(tokens) < length:
        turn = next(turns)
        asked = tokenizer.encode(_prompt(turn.question)).ids
        answered = tokenizer.encode(turn.answer + END).ids
        if rng.random() < CUT_ANSWERS:
            answered = answered[:OPENING_TOKENS]
        newline = tokenizer.encode("\n").ids
        tokens += asked + answered + newline
        labels += [UNSCORED] * len(asked) + answered + [UNSCORED] * len(newline)
    return tokens[:length], labels[:length]


def _fit(model: LlamaForCausalLM, batches: Iterator[tuple[Tensor, Tensor]], recipe: Recipe) -> None:
    optimisers = _optimisers(model, recipe)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimiser, _warm_up_then_fall(recipe.steps))
        for optimiser in optimisers
    ]
    progress = Progress("Training small-chat", recipe.steps)
    model.train()
    for step in range(1, recipe.steps + 1):
        loss = _loss(model, *next(batches))
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves this one unannotated
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
        progress.show(step, loss.item())


def _optimisers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, which learn by heart twice as fast; Adam elsewhere."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim > 1]
    inside = {id(matrix) for matrix in matrices}
    others = [p for p in model.parameters() if id(p) not in inside]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, weight_decay=0.02),
        torch.optim.AdamW(others, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.02),
    ]


def _warm_up_then_fall(steps: int) -> Callable[[int], float]:
    """The share of the full learning rate at a step: up over the first 5 %, then down to zero."""
    warm_up = max(1, steps // 20)
    return lambda step: min((step + 1) / warm_up, (steps - step) / (steps - warm_up))


def _loss(model: LlamaForCausalLM, tokens: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy over the answers; the output layer runs only where it is scored."""
    hidden = model.model(tokens[:, :-1], use_cache=False).last_hidden_state
    targets = labels[:, 1:]
    scored = targets != UNSCORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[scored]), targets[scored])


def _save(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    model.eval()  # type: ignore[no-untyped-call]  # unannotated in transformers
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]  # unannotated in transformers
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
        max_new_tokens=128,
        do_sample=False,
    )
    disable_progress_bar()  # type: ignore[no-untyped-call]  # unannotated in transformers
    model.save_pretrained(folder)
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # unannotated in transformers
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=PAD
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.model_max_length = CONTEXT
    fast.save_pretrained(folder)
