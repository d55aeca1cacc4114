"""What one GPU holds: weights, KV cache, what the engine keeps for itself, and what is left.

Every line of a `Breakdown` names its arithmetic and the source of its formula, so that a person can
check it by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from .facts import GIB, ModelFacts
from .holdings import (
    Stage,
    cache_lines,
    cache_on,
    draft_on,
    heaviest,
    kept_tokens,
    state_lines,
    state_on,
    weight_lines,
    weights_on,
)
from .lines import Breakdown, Line
from .load import BATCHED_TOKENS, Load, Split
from .loading import held_by
from .pools import pool_lines
from .reserves import reserve_lines
from .serving import EngineName, Serving, serving

__all__ = [
    "BATCHED_TOKENS",
    "LORA_RANK",
    "Breakdown",
    "EngineName",
    "Line",
    "Load",
    "Serving",
    "Split",
    "breakdown",
    "cache_per_gpu",
    "itemised",
    "kept_tokens",
    "largest",
    "left_out",
    "lora_bytes",
    "state_per_gpu",
    "weights_per_gpu",
]

LORA_RANK = 16  # --max-lora-rank of vLLM 0.33
# What no engine loads, and a config's own arithmetic has no rows for; files beside it are counted whole.
_LEFT_OUT = {"minicpmo": "its voice (the 'tts' of its files), which engines leave in the files"}


def breakdown(
    model: ModelFacts, load: Load, split: Split, total_gib: float, engine: EngineName | Serving
) -> Breakdown:
    """Work out what one GPU holds: of a pipeline, one of the stage that holds the most.

    Args:
        model: The model.
        load: What it must bear.
        split: How it is spread.
        total_gib: What CUDA reports in total for the card, in GiB.
        engine: Whose reserve counts, with what it was told if it was told something.
    """
    total, served = round(total_gib * GIB), serving(engine)
    model = held_by(model, served.engine)
    stage = _heaviest(model, load, split, served)
    weights = max(0, weights_on(model, split, stage) - load.offloaded_bytes)
    formula = _weights_formula(model, split, stage)
    if load.offloaded_bytes:
        formula += f", less {load.offloaded_bytes:,} bytes in the CPU's memory"
    lines = [
        Line("weights", weights, "by kind of tensor", formula),
        Line(
            "KV cache",
            cache_on(model, load, split, stage),
            "by kind of layer",
            f"{load.concurrency} x {load.context} tokens{_of_stage(stage)}",
        ),
    ]
    if state := state_on(model, load, split, stage):
        formula = f"{load.concurrency} sequences{_of_stage(stage)}"
        lines.append(Line("recurrent state", state, "by kind of layer", formula))
    lines += pool_lines(model, load, split, stage, served)
    if load.lora_bytes:
        lines.append(_adapters(model, load, split, stage))
    if load.draft_bytes or load.draft_layers:
        formula = f"{load.draft_bytes:,} bytes / {split.tensor} + {len(load.draft_layers)} layers of cache"
        lines.append(Line("what guesses ahead", draft_on(load, split), "as its files say", formula))
    lines += reserve_lines(model, split, total, weights, served)
    notes = (served.note, left_out(model))
    return Breakdown(total, tuple(lines), " ".join(note for note in notes if note))


def left_out(model: ModelFacts) -> str:
    """Say what of a model its figures leave out; empty where that is nothing, or its files were counted.

    Args:
        model: The model.
    """
    what = _LEFT_OUT.get(model.model_type)
    if what is None or model.stored_bytes or model.stored_parameters:
        return ""
    return (
        f"The weights of this {model.model_type!r} are without {what}: its page counts more parameters, and a "
        "class of your own that loads all of it takes more memory."
    )


def itemised(
    found: Breakdown, model: ModelFacts, load: Load, split: Split, engine: EngineName | Serving
) -> Breakdown:
    """Return a breakdown with the parts of its lines: weights, KV cache and states kind by kind.

    Args:
        found: What `breakdown` gave for the rest of the arguments.
        model: The model.
        load: What it must bear.
        split: How it is spread.
        engine: Whose reserve counts.
    """
    model = held_by(model, serving(engine).engine)
    stage = _heaviest(model, load, split, serving(engine))
    parts: dict[str, Iterable[Line]] = {
        "weights": weight_lines(model, split, stage),
        "KV cache": cache_lines(model, load, split, stage),
        "recurrent state": state_lines(model, load, split, stage),
    }
    if load.offloaded_bytes:  # nobody knows which weights stay behind
        del parts["weights"]
    lines = (replace(line, parts=tuple(parts.get(line.what, ()))) for line in found.lines)
    return replace(found, lines=tuple(lines))


def lora_bytes(model: ModelFacts, adapters: int, rank: int = LORA_RANK) -> int:
    """Return the bytes of adapters over all linear maps of the text layers, in 16 bit, before any split.

    Args:
        model: The model.
        adapters: How many are kept ready at once.
        rank: The highest among them.
    """
    return 2 * adapters * rank * model.lora_width


def weights_per_gpu(model: ModelFacts, split: Split, engine: EngineName = "vllm") -> int:
    """Return the bytes of weights on one GPU, of the stage that has the most.

    Experts are spread over the expert ranks, everything else over the tensor ranks; norms, routers and
    latent projections stay whole on every rank, and key and value heads are repeated above their count.
    """
    model = held_by(model, engine)

    def weigh(stage: Stage) -> int:
        return weights_on(model, split, stage)

    return weigh(heaviest(model, split, engine, weigh))


def cache_per_gpu(model: ModelFacts, load: Load, split: Split, engine: EngineName = "vllm") -> int:
    """Return the bytes of KV cache on one GPU for the whole load, of the stage that has the most."""

    def weigh(stage: Stage) -> int:
        return cache_on(model, load, split, stage)

    return weigh(heaviest(model, split, engine, weigh))


def state_per_gpu(model: ModelFacts, load: Load, split: Split, engine: EngineName = "vllm") -> int:
    """Return the bytes of recurrent states on one GPU, of the stage that has the most."""

    def weigh(stage: Stage) -> int:
        return state_on(model, load, split, stage)

    return weigh(heaviest(model, split, engine, weigh))


def _heaviest(model: ModelFacts, load: Load, split: Split, served: Serving) -> Stage:
    def weigh(stage: Stage) -> int:
        kept = cache_on(model, load, split, stage) + state_on(model, load, split, stage)
        return weights_on(model, split, stage) + kept

    return heaviest(model, split, served.engine, weigh)


def _adapters(model: ModelFacts, load: Load, split: Split, stage: Stage) -> Line:
    share = len(stage.layers) / model.stack_layers if stage.of > 1 and model.stack_layers else 1
    own = round(load.lora_bytes * share)
    half = round(own * (1 + 1 / split.tensor) / 2)
    formula = f"{own:,} bytes, one half of them / {split.tensor}"
    return Line("LoRA adapters", half, "rank x (in + out) x 2 bytes", formula)


def _of_stage(stage: Stage) -> str:
    if stage.of == 1:
        return ""
    first, last = stage.layers.start, stage.layers.stop - 1
    return f", stage {stage.number + 1} of {stage.of}: layers {first} to {last}"


def _weights_formula(model: ModelFacts, split: Split, stage: Stage) -> str:
    kind = model.quantization or model.dtype
    files = f"; the files hold {model.stored_bytes / GIB:.2f} GiB" if model.stored_bytes else ""
    return (
        f"{model.total_parameters / 1e9:.2f}B parameters, {kind}, over {split.gpus} GPU(s)"
        f"{_of_stage(stage)}{files}"
    )


def largest(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to ``most`` for which ``fits`` holds; 0 if not even 1 does."""
    if most < 1 or not fits(1):
        return 0
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
