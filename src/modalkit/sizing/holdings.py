"""What of a model one GPU holds: its weights, its KV cache, its states; kind by kind, in figures.

A pipeline's stages differ: each has its own layers, the first the embeddings, the last the output head.
Every figure here is of one stage; `heaviest` finds the one that decides whether the model fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .cache_layer import CacheLayer, Keeps
from .facts import ModelFacts
from .lines import Line
from .load import Load, Split, stages
from .parts import Division, Place, WeightPart, written_layers
from .serving import EngineName

__all__ = [
    "BLOCK_TOKENS",
    "Stage",
    "cache_lines",
    "cache_on",
    "cached_bytes",
    "draft_on",
    "heaviest",
    "kept_tokens",
    "layers_on",
    "state_lines",
    "state_on",
    "token_bytes",
    "weight_lines",
    "weights_on",
]

# Tokens in one block of a paged cache: the engines' defaults (vLLM 16, SGLang 1 but allocated by page).
BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a pipeline.

    Attributes:
        number: Counted from 0.
        of: How many there are.
        layers: The text model's layers it has.
    """

    number: int
    of: int
    layers: range

    def has(self, place: Place) -> bool:
        """Whether it has weights of a place outside the layers."""
        first, last = self.number == 0, self.number == self.of - 1
        return {
            Place.FIRST: first,
            Place.LAST: last,
            Place.ENDS: first or last,
        }.get(place, True)

    def share(self, part: WeightPart) -> float:
        """Return how much of a part it has, 0 to 1."""
        if self.of == 1:
            return 1.0
        if part.place is Place.LAYERS:
            return sum(layer in self.layers for layer in part.layers) / len(part.layers)
        return float(self.has(part.place)) / (self.of if part.place is Place.EVENLY else 1)


def heaviest(
    model: ModelFacts, split: Split, engine: EngineName, weigh: Callable[[Stage], int]
) -> Stage:
    """Return the stage of a split's pipeline that weighs the most."""
    layers = stages(model.stack_layers, split.pipeline, engine)
    found = [Stage(number, split.pipeline, own) for number, own in enumerate(layers)]
    return max(found, key=weigh) if len(found) > 1 else found[0]


# ── weights ─────────────────────────────────────────────────────────────────────────────────────


def weights_on(model: ModelFacts, split: Split, stage: Stage) -> int:
    """Return the bytes of weights on one GPU of a stage."""
    return sum(
        math.ceil(part.bytes * stage.share(part) / _ranks(part, model, split))
        for part in model.weight_parts
    )


def weight_lines(model: ModelFacts, split: Split, stage: Stage) -> Iterator[Line]:
    """Yield a line for each kind of weights on one GPU of a stage."""
    for part in model.weight_parts:
        share, ranks = stage.share(part), _ranks(part, model, split)
        if held := math.ceil(part.bytes * share / ranks):
            formula = _weights_formula(part, share, ranks)
            yield Line(part.name, held, _DIVIDED[part.division], formula)


def _ranks(part: WeightPart, model: ModelFacts, split: Split) -> int:
    if part.division is Division.EXPERTS:
        return split.expert_ranks
    if part.division is Division.HEADS:
        return min(split.tensor, max(1, model.kv_heads))
    return split.tensor if part.division is Division.TENSOR else 1


_DIVIDED = {
    Division.TENSOR: "divided by the tensor ranks",
    Division.HEADS: "divided by the tensor ranks, at most by the key-value heads",
    Division.EXPERTS: "divided by the expert ranks",
    Division.WHOLE: "whole on every rank",
}


def _weights_formula(part: WeightPart, share: float, ranks: int) -> str:
    held = round(part.bytes * share)
    if part.parameters:
        each = part.bytes / part.parameters
        figures = (
            f"{round(part.parameters * share):,} parameters x {each:.6g} bytes ({part.format})"
        )
    else:
        figures = f"{held:,} bytes"
    layers = f"layers {written_layers(part.layers)}: " if part.layers and share == 1 else ""
    divided = f" / {ranks}" if ranks > 1 else ""
    return f"{layers}{figures}{divided}"


# ── keys and values ─────────────────────────────────────────────────────────────────────────────


def cache_on(model: ModelFacts, load: Load, split: Split, stage: Stage) -> int:
    """Return the bytes of KV cache on one GPU of a stage for the whole load."""
    return sum(cached_bytes(layer, count, load, split) for layer, count in layers_on(model, stage))


def cache_lines(model: ModelFacts, load: Load, split: Split, stage: Stage) -> Iterator[Line]:
    """Yield a line for each kind of layer that keeps tokens."""
    for layer, count in layers_on(model, stage):
        if held := cached_bytes(layer, count, load, split):
            yield Line(layer.label, held, layer.rule, _cache_formula(layer, count, load, split))


def layers_on(model: ModelFacts, stage: Stage) -> tuple[tuple[CacheLayer, int], ...]:
    """Return the different layers that a stage keeps something for, each with how many there are."""
    return model.cache_groups if stage.of == 1 else model.cache_in(stage.layers)


def _sequences(load: Load, split: Split) -> int:
    return math.ceil(load.concurrency / split.data)


def cached_bytes(layer: CacheLayer, count: int, load: Load, split: Split) -> int:
    """Return the bytes that a number of layers alike keep on one GPU for the whole load."""
    if layer.keeps is Keeps.NOTHING:
        return 0
    each = token_bytes(layer, load, split)
    return math.ceil(count * _sequences(load, split) * kept_tokens(layer, load) * each)


def token_bytes(layer: CacheLayer, load: Load, split: Split) -> float:
    """Return the bytes that one layer keeps of a token on one GPU."""
    return _numbers(layer, split) * load.cache_bytes + layer.extra_bytes


def _numbers(layer: CacheLayer, split: Split) -> float:
    """Numbers of a token that one rank keeps."""
    heads = max(1, layer.heads)
    return layer.elements * math.ceil(heads / split.tensor) / heads


def _cache_formula(layer: CacheLayer, count: int, load: Load, split: Split) -> str:
    each = f"{_numbers(layer, split):,.10g} numbers x {load.cache_bytes:g} bytes"
    if layer.extra_bytes:
        each = f"({each} + {layer.extra_bytes} bytes of index)"
    what = "entries" if layer.keeps is Keeps.COMPRESSED else "tokens"
    entries = f"{kept_tokens(layer, load):,} {what}"
    return f"{count} layers x {_sequences(load, split)} requests x {entries} x {each}"


def kept_tokens(layer: CacheLayer, load: Load, block: int = BLOCK_TOKENS) -> int:
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


def draft_on(load: Load, split: Split) -> int:
    """Return the bytes of what guesses ahead on one GPU: its share of the weights, and its cache."""
    cache = sum(cached_bytes(layer, 1, load, split) for layer in load.draft_layers)
    return math.ceil(load.draft_bytes / split.tensor) + cache


# ── states ──────────────────────────────────────────────────────────────────────────────────────


def state_on(model: ModelFacts, load: Load, split: Split, stage: Stage) -> int:
    """Return the bytes of recurrent states on one GPU of a stage."""
    return sum(_state_bytes(layer, count, load, split) for layer, count in layers_on(model, stage))


def state_lines(model: ModelFacts, load: Load, split: Split, stage: Stage) -> Iterator[Line]:
    """Yield a line for each kind of layer that keeps a state."""
    for layer, count in layers_on(model, stage):
        if held := _state_bytes(layer, count, load, split):
            ranks = f" / {split.tensor}" if split.tensor > 1 else ""
            sequences = _sequences(load, split)
            formula = f"{count} layers x {sequences} requests x {layer.state_bytes:,} bytes{ranks}"
            what = f"state of {layer.name.replace('_', ' ')}"
            yield Line(what, held, "recurrence in float32, convolutions in 16 bit", formula)


def _state_bytes(layer: CacheLayer, count: int, load: Load, split: Split) -> int:
    return math.ceil(count * _sequences(load, split) * layer.state_bytes / split.tensor)
