"""What one GPU holds: weights, KV cache, what the engine keeps for itself, and what is left.

Every line of a `Breakdown` names the source of its formula, so that a person can check it by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .cache import CacheLayer, Keeps
from .model import GIB, ModelFacts

__all__ = ["Breakdown", "EngineName", "Line", "Load", "Split", "breakdown", "largest", "lora_bytes"]

EngineName = Literal["sglang", "vllm", "transformers"]

MIB = 1024**2
# Tokens in one block of a paged cache: the engines' defaults (vLLM 16, SGLang 1 but allocated by page).
BLOCK_TOKENS = 16
BATCHED_TOKENS = 8192  # prompt tokens read at once: vLLM's default on cards of 80 GB and more
LORA_RANK = 16  # --max-lora-rank of vLLM 0.33
VLLM_UTILIZATION = 0.92  # --gpu-memory-utilization of vLLM 0.33


@dataclass(frozen=True, slots=True)
class Split:
    """How a model is spread over GPUs.

    Attributes:
        tensor: Ranks that share every layer.
        expert: Ranks that share the routed experts; the tensor ranks unless given.
        pipeline: Groups of consecutive layers.
        data: Copies of the attention that serve different requests.
    """

    tensor: int = 1
    expert: int | None = None
    pipeline: int = 1
    data: int = 1

    @property
    def gpus(self) -> int:
        """GPUs that one copy takes."""
        return self.tensor * self.pipeline * self.data


@dataclass(frozen=True, slots=True)
class Load:
    """What the model must bear.

    Attributes:
        context: Tokens of a request, prompt and answer together.
        concurrency: Requests at once.
        cache_bytes: Bytes of a number in the KV cache: 2 for 16 bit, 1 for fp8.
        batched_tokens: Prompt tokens an engine reads at once; a sliding window holds them as well.
        lora_bytes: Adapters kept ready, in bytes before any split; see `lora_bytes`.
    """

    context: int = 8192
    concurrency: int = 8
    cache_bytes: float = 2.0
    batched_tokens: int = BATCHED_TOKENS
    lora_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a breakdown.

    Attributes:
        what: Such as ``"weights"``.
        bytes: On one GPU.
        source: The formula and where it is from.
    """

    what: str
    bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class Breakdown:
    """What one GPU of a split holds.

    Attributes:
        total_bytes: What CUDA reports in total.
        lines: What takes it.
    """

    total_bytes: int
    lines: tuple[Line, ...]

    @property
    def used_bytes(self) -> int:
        """Everything together."""
        return sum(line.bytes for line in self.lines)

    @property
    def free_bytes(self) -> int:
        """What is left; negative when it does not fit."""
        return self.total_bytes - self.used_bytes

    @property
    def fits(self) -> bool:
        """Whether it fits."""
        return self.free_bytes >= 0


def breakdown(
    model: ModelFacts, load: Load, split: Split, total_gib: float, engine: EngineName
) -> Breakdown:
    """Work out what one GPU holds.

    Args:
        model: The model.
        load: What it must bear.
        split: How it is spread.
        total_gib: What CUDA reports in total for the card, in GiB.
        engine: Whose reserve counts.
    """
    total = round(total_gib * GIB)
    weights = weights_per_gpu(model, split)
    cache = cache_per_gpu(model, load, split)
    state = state_per_gpu(model, load, split)
    lines = [
        Line("weights", weights, _weights_source(model, split)),
        Line("KV cache", cache, f"{load.concurrency} x {load.context} tokens, layer by layer"),
    ]
    if state:
        lines.append(Line("recurrent state", state, f"{load.concurrency} sequences"))
    if load.lora_bytes:
        split_half = round(load.lora_bytes * (1 + 1 / split.tensor) / 2)
        lines.append(
            Line("LoRA adapters", split_half, "rank x (in + out) x 2 bytes; one half is split")
        )
    lines += _RESERVES[engine](model, split, total, weights)
    return Breakdown(total, tuple(lines))


def lora_bytes(model: ModelFacts, adapters: int, rank: int = LORA_RANK) -> int:
    """Return the bytes of LoRA adapters: two 16-bit matrices beside each linear map of a layer.

    Engines make room for the highest rank. Routed experts are taken to have none.

    Args:
        model: The model.
        adapters: How many are kept ready at once.
        rank: The highest among them.
    """
    return 2 * adapters * rank * model.lora_width


def weights_per_gpu(model: ModelFacts, split: Split) -> int:
    """Return the bytes of weights on one GPU.

    Experts are spread over the expert ranks, everything else over the tensor ranks; norms, routers and
    latent projections stay whole on every rank, and key and value heads are repeated above their count.
    """
    expert_ranks = split.expert or split.tensor * split.data
    shared = (
        model.loaded_bytes - model.expert_bytes - model.replicated_bytes - model.key_value_bytes
    )
    heads = max(1, model.kv_heads)
    key_value_ranks = min(split.tensor, heads) if model.key_value_bytes else split.tensor
    whole = (
        shared / split.tensor
        + model.key_value_bytes / key_value_ranks
        + model.replicated_bytes
        + model.expert_bytes / expert_ranks
    )
    return math.ceil(whole / split.pipeline)


def cache_per_gpu(model: ModelFacts, load: Load, split: Split) -> int:
    """Return the bytes of KV cache on one GPU for the whole load."""
    sequences = math.ceil(load.concurrency / split.data)
    per_sequence = sum(n * _layer_bytes(one, load, split.tensor) for one, n in model.cache_groups)
    return math.ceil(sequences * per_sequence / split.pipeline)


def state_per_gpu(model: ModelFacts, load: Load, split: Split) -> int:
    """Return the bytes of recurrent states on one GPU."""
    sequences = math.ceil(load.concurrency / split.data)
    return math.ceil(sequences * model.state_bytes_per_sequence / (split.tensor * split.pipeline))


def _layer_bytes(layer: CacheLayer, load: Load, tensor: int) -> float:
    if layer.keeps is Keeps.NOTHING:
        return 0.0
    entries = kept_tokens(layer, load)
    heads = max(1, layer.heads)
    share = math.ceil(heads / tensor) / heads
    return entries * (layer.elements * load.cache_bytes * share + layer.extra_bytes)


def kept_tokens(layer: CacheLayer, load: Load, block: int = BLOCK_TOKENS) -> float:
    """Return the entries a layer keeps for one request of the load.

    A sliding layer keeps its window and the tokens being read, rounded up by a block; a chunked one its
    chunk; a compressed one an entry for several tokens (vLLM's sliding-window and chunked-local managers);
    cross-attention what its encoder was given.

    Args:
        layer: The layer.
        load: What it must bear.
        block: Tokens of a block of the paged cache.
    """
    context = load.context
    if layer.keeps is Keeps.WINDOW:
        return min(layer.window - 1 + load.batched_tokens + block, context)
    if layer.keeps is Keeps.CHUNK:
        return min(layer.window + load.batched_tokens, context)
    if layer.keeps is Keeps.COMPRESSED:
        return math.ceil(context / layer.window)
    if layer.keeps is Keeps.ENCODER:
        return layer.window or context
    return context


def _weights_source(model: ModelFacts, split: Split) -> str:
    kind = model.quantization or model.dtype
    files = f"; the files hold {model.stored_bytes / GIB:.2f} GiB" if model.stored_bytes else ""
    return (
        f"{model.total_parameters / 1e9:.2f}B parameters, {kind}, over {split.gpus} GPU(s){files}"
    )


def _vllm(model: ModelFacts, split: Split, total: int, weights: int) -> list[Line]:
    """Reserve of vLLM 0.33: 8 % of the card left alone; activations and graphs by a rule of thumb.

    ``2.3 GiB + 5 % of the weights`` left room in 45 of 47 published setups, and too little only where the
    weights alone nearly fill a card; the activations of one batch of prompt tokens bound the second part.
    """
    del split
    unused = total - round(total * VLLM_UTILIZATION)
    activations = BATCHED_TOKENS * 10 * model.hidden_size * 2
    working = round(2.3 * GIB + min(0.05 * weights, activations or math.inf))
    return [
        Line("left alone", unused, "1 - gpu_memory_utilization 0.92, vLLM 0.33"),
        Line(
            "activations and graphs",
            working,
            "2.3 GiB + 5 % of the weights, at most 8,192 tokens x 10 x hidden size x 2 bytes",
        ),
    ]


def _sglang(model: ModelFacts, split: Split, total: int, weights: int) -> list[Line]:
    """SGLang 0.5.23's own reserve, `arg_groups/memory_hook.py`, in MB by the card's size."""
    del weights
    chunk, batch = _sglang_sizes(total / MIB, split.tensor)
    latent = (
        any(layer.heads == 1 and layer.elements > 1 for layer in model.cache)
        and model.kv_heads == 1
    )
    graphs = 1536 if latent else 8 * _prefill_graphs(chunk)
    reserve = (
        512 + 1.5 * max(chunk, 2048) + split.tensor * split.pipeline * 128 + 2 * batch + graphs
    )
    if total / MIB > 60 * 1024:
        reserve = max(reserve, 10 * 1024)
    return [
        Line(
            "activations and graphs",
            round(reserve * MIB),
            f"512 + 1.5 x {chunk} + 128 x tp x pp + 2 x {batch} + {graphs} MB, SGLang 0.5.23",
        )
    ]


def _sglang_sizes(total_mib: float, tensor: int) -> tuple[int, int]:
    """Return the prompt tokens read at once and the largest captured batch, by the card's memory."""
    for limit_gib, chunk, few, many in (
        (20, 2048, 8, 8),
        (35, 4096, 48, 160),
        (60, 4096, 32, 160),
        (160, 8192, 256, 512),
    ):
        if total_mib < limit_gib * 1024:
            return chunk, few if tensor < 4 else many  # noqa: PLR2004 - SGLang's own threshold
    return 16384, 512


def _prefill_graphs(chunk: int) -> int:
    """Return how many prompt sizes SGLang captures up to a chunk (its `generate_prefill_*` list)."""
    return 8 + max(0, min(chunk, 1024) - 64) // 64 + max(0, chunk - 1024) // 512


def _transformers(model: ModelFacts, split: Split, total: int, weights: int) -> list[Line]:
    """Reserve of modalkit's own engine: the CUDA context and the widest activations; not measured on a GPU."""
    del split, weights
    logits = model.vocab_size * 4 * 64  # float32 scores of a batch of 64
    working = round(1.0 * GIB + logits + 64 * model.hidden_size * 4 * 8)
    return [
        Line(
            "left alone", round(total * 0.05), "5 % for the allocator's own pieces, by convention"
        ),
        Line(
            "context and activations",
            working,
            "1 GiB + scores of 64 tokens in float32, not measured",
        ),
    ]


_Reserve = Callable[[ModelFacts, Split, int, int], list[Line]]
_RESERVES: dict[EngineName, _Reserve] = {
    "vllm": _vllm,
    "sglang": _sglang,
    "transformers": _transformers,
}


def largest(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to ``most`` for which ``fits`` holds; 0 if not even 1 does."""
    if most < 1 or not fits(1):
        return 0
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
