"""Batched decoding gives what `model.generate` gives, whatever joins and leaves when."""

from __future__ import annotations

import random

import pytest
import torch
import transformers

from modalkit.runtime.openai import Sampling
from modalkit.runtime.transformers.draws import Draws
from modalkit.runtime.transformers.forward import CausalForward
from modalkit.runtime.transformers.probe import batches_correctly
from modalkit.runtime.transformers.scheduler import Limits, Scheduler
from modalkit.runtime.transformers.sequence import Sequence

VOCABULARY = 500
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,  # the default gives logits so flat that rounding decides
}
GPT2_SIZES = {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 512}
BLOOM_SIZES = {"vocab_size": VOCABULARY, "hidden_size": 64, "n_layer": 2, "n_head": 4}
LINEAR_SIZES = {
    "layer_types": ["linear_attention", "full_attention"] * 2,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
}
MIXTURE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
BATCHED = {
    "Llama": SIZES,
    "Qwen2": SIZES,
    "Qwen3": {**SIZES, "head_dim": 16},
    "Qwen3Moe": {**SIZES, **MIXTURE, "head_dim": 16},
    "Mistral": {**SIZES, "sliding_window": 12},
    "Gemma": {**SIZES, "head_dim": 16},
    "Gemma2": {**SIZES, "head_dim": 16, "sliding_window": 12, "initializer_range": 0.02},
    "Gemma3": {**SIZES, "head_dim": 16, "sliding_window": 12, "initializer_range": 0.02},
    "Phi3": {**SIZES, "pad_token_id": 0},
    "GPT2": {**GPT2_SIZES, "initializer_range": 0.2},
    "Bloom": {**BLOOM_SIZES, "initializer_range": 0.2},
}
ALONE = {"Qwen3Next": {**SIZES, **LINEAR_SIZES, "head_dim": 16}}
CONFIGS = {"Gemma3": "Gemma3TextConfig"}
MODELS = {"GPT2": "GPT2LMHeadModel"}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models this small are fastest alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(family: str, sizes: dict[str, object]) -> transformers.PreTrainedModel:
    """A small model of random weights that does not end by itself."""
    torch.manual_seed(0)
    config = getattr(transformers, CONFIGS.get(family, f"{family}Config"))(**sizes)
    config.eos_token_id = None
    model = getattr(transformers, MODELS.get(family, f"{family}ForCausalLM"))(config).eval()
    model.generation_config.eos_token_id = None
    return model


def prompts(count: int = 7) -> list[list[int]]:
    chosen = random.Random(1)
    lengths = [chosen.choice([1, 3, 9, 17, 40]) for _ in range(count)]
    return [[chosen.randrange(2, VOCABULARY) for _ in range(length)] for length in lengths]


def generated(model: transformers.PreTrainedModel, prompt: list[int], count: int) -> list[int]:
    ids = torch.tensor([prompt])
    mask = torch.ones_like(ids)
    output = model.generate(
        ids, attention_mask=mask, max_new_tokens=count, do_sample=False, pad_token_id=0
    )
    return output[0, len(prompt) :].tolist()


def sequence(prompt: list[int], count: int) -> Sequence:
    greedy = Draws(Sampling(temperature=0), None)
    return Sequence(prompt, count, frozenset(), greedy, top_logprobs=None)


def run(scheduler: Scheduler, sequences: list[Sequence], every: int = 3) -> None:
    """Submit one sequence every few iterations, and iterate until all are done."""
    pending, iteration = list(sequences), 0
    while pending or not scheduler.is_idle:
        if pending and iteration % every == 0:
            scheduler.submit(pending.pop(0))
        scheduler.read_prompts()
        scheduler.decode()
        iteration += 1


@torch.inference_mode()
def check(model: transformers.PreTrainedModel, limits: Limits) -> None:
    counts = [5, 44, 1, 20, 20, 44, 2]
    expected = [generated(model, *pair) for pair in zip(prompts(), counts, strict=True)]
    sequences = [sequence(*pair) for pair in zip(prompts(), counts, strict=True)]
    run(Scheduler(CausalForward(model), limits), sequences)
    assert [one.tokens for one in sequences] == expected
    assert len({token for tokens in expected for token in tokens}) > 8  # it says something


@pytest.mark.parametrize("family", BATCHED)
def test_a_batch_that_changes_all_the_time_equals_generate(family: str):
    """Seven prompts join four rows at different times; pieces of 32 tokens; token for token."""
    model = build(family, BATCHED[family])
    with torch.inference_mode():
        assert batches_correctly(CausalForward(model), VOCABULARY, torch.float32)
    check(model, Limits(max_rows=4, max_cells=10_000, prefill_tokens=32))


@pytest.mark.parametrize("family", ALONE)
def test_recurrent_architectures_run_one_by_one(family: str):
    """State that cannot be padded is found at start-up, and the slower path is as right."""
    model = build(family, ALONE[family])
    with torch.inference_mode():
        assert not batches_correctly(CausalForward(model), VOCABULARY, torch.float32)
    check(model, Limits(max_rows=4, max_cells=10_000, prefill_tokens=32, batched=False))


@pytest.mark.parametrize("family", ["Llama", "Gemma3"])
@pytest.mark.parametrize("max_cells", [90, 180])
def test_a_short_memory_changes_nothing_but_the_pace(family: str, max_cells: int):
    """Sequences that no longer fit are sent back and read again; the answers are the same."""
    check(build(family, BATCHED[family]), Limits(4, max_cells, prefill_tokens=32))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_every_attention_implementation_is_right(attention: str):
    """The masks are transformers' own, whichever form the attention wants them in."""
    model = build("Gemma3", BATCHED["Gemma3"])
    model.set_attn_implementation(attention)
    check(model, Limits(4, 10_000, 32))


def test_a_model_whose_batches_are_wrong_is_found():
    """A model that ignores the mask gives other logits in a batch than alone."""

    class Maskless(transformers.LlamaForCausalLM):
        def forward(self, attention_mask=None, **inputs):
            return super().forward(attention_mask=None, **inputs)

    torch.manual_seed(0)
    model = Maskless(transformers.LlamaConfig(**SIZES)).eval()
    with torch.inference_mode():
        assert not batches_correctly(CausalForward(model), VOCABULARY, torch.float32)


def test_half_precision_is_batched_too():
    """Rounding is not taken for a wrong mask."""
    model = build("Llama", SIZES).to(torch.bfloat16)
    with torch.inference_mode():
        assert batches_correctly(CausalForward(model), VOCABULARY, torch.bfloat16)


@torch.inference_mode()
def test_a_cancelled_sequence_leaves_at_the_next_iteration():
    """Its row is free for the next, and the others do not notice."""
    model = build("Llama", SIZES)
    first, second, third = [sequence(prompt, 30) for prompt in prompts(3)]
    scheduler = Scheduler(CausalForward(model), Limits(2, 10_000, 512))
    for one in (first, second, third):
        scheduler.submit(one)
    for _ in range(4):
        scheduler.read_prompts()
        scheduler.decode()
    assert (scheduler.running, scheduler.waiting) == (2, 1)
    first.cancelled = True
    run(scheduler, [])
    assert len(first.tokens) < 30
    for one in (second, third):
        assert one.tokens == generated(model, one.prompt, 30)


@torch.inference_mode()
def test_decoding_goes_on_while_a_long_prompt_is_read():
    """A prompt of many pieces does not stall an answer under way."""
    model = build("Llama", SIZES)
    short, long = sequence([5, 6], 40), sequence(list(range(2, 202)), 3)
    scheduler = Scheduler(CausalForward(model), Limits(4, 10_000, prefill_tokens=20))
    scheduler.submit(short)
    scheduler.read_prompts()
    scheduler.submit(long)
    for _ in range(5):
        scheduler.read_prompts()
        scheduler.decode()
    assert len(short.tokens) == 6
    assert long.tokens == []
    run(scheduler, [])
    assert long.tokens == generated(model, long.prompt, 3)
