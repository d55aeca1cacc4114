"""Which GPUs a model fits, the cheapest first, and why each cheaper one does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..declare.gpu import GPU, gpu_catalogue
from .context import beyond_own
from .facts import GIB, ModelFacts
from .fractions import makes_room, roomier_fraction
from .loading import held_by
from .memory import Breakdown, Load, Split, breakdown, largest
from .serving import EngineName, Serving, serving
from .speed import Speed, speed
from .splits import MOST_GPUS, Parallelism, Spread

__all__ = ["Pick", "Wishes", "examine", "largest_concurrency", "largest_context", "picks"]

_NEEDS = {  # compute capability a format needs; vLLM's and SGLang's kernels
    "fp8": 8.9,
    "nvfp4": 10.0,
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a choice of GPU must keep to.

    Attributes:
        allowed: GPU types to choose from; every type when empty.
        max_usd_per_hour: Dearest acceptable price.
        max_count: GPUs at most.
        min_tokens_per_s: Answered tokens per second at least, by the low end of the estimate.
        prefer_fewer: Rather fewer GPUs than a lower price.
    """

    allowed: tuple[str, ...] = ()
    max_usd_per_hour: float | None = None
    max_count: int = MOST_GPUS
    min_tokens_per_s: float | None = None
    prefer_fewer: bool = False


@dataclass(frozen=True, slots=True)
class Pick:
    """One GPU type and count, and how the model sits on it.

    Attributes:
        problem: Why it is no choice; empty when it is one.
        memory_fraction: The engine's share of the card that would make room; None where it fits, or
            where none would.
    """

    gpu: GPU
    count: int
    split: Split
    breakdown: Breakdown
    speed: Speed
    problem: str = ""
    memory_fraction: float | None = None

    @property
    def usd_per_hour(self) -> float:
        """List price of the GPUs; CPU and memory come on top."""
        return self.gpu.usd_per_second * 3600 * self.count

    @property
    def selection(self) -> str:
        """Modal's string for it: ``"H100:2"``."""
        return self.gpu.name if self.count == 1 else f"{self.gpu.name}:{self.count}"


def picks(
    model: ModelFacts,
    load: Load,
    engine: EngineName | Serving,
    wishes: Wishes | None = None,
    *,
    split: Split | Parallelism | None = None,
) -> list[Pick]:
    """Return every type and count of the catalogue, cheapest first, each with its problem if it has one.

    Args:
        model: The model, as it is loaded.
        load: What it must bear.
        engine: Whose memory reserve counts.
        wishes: What the choice must keep to.
        split: How the engine was told to spread it: one way, which only its own count of GPUs takes, or
            what of it was said. Default: tensor parallelism over all GPUs.
    """
    wishes = wishes or Wishes()
    found = list(_candidates(model, load, engine, wishes, _spreads(model, split, engine)))
    if wishes.prefer_fewer:
        return sorted(found, key=lambda one: (one.count, one.usd_per_hour))
    return sorted(found, key=lambda one: (one.usd_per_hour, one.count))


def _spreads(
    model: ModelFacts, split: Split | Parallelism | None, engine: EngineName | Serving
) -> Mapping[int, Spread]:
    if isinstance(split, Split):
        return {split.gpus: Spread(split)}
    return (split or _usual(engine)).spreads(model)


def _usual(engine: EngineName | Serving) -> Parallelism:
    """What an engine does that is told nothing; Transformers runs on the first GPU alone."""
    return Parallelism(most=1) if serving(engine).engine == "transformers" else Parallelism()


def _candidates(
    model: ModelFacts,
    load: Load,
    engine: EngineName | Serving,
    wishes: Wishes,
    spreads: Mapping[int, Spread],
) -> Iterator[Pick]:
    for gpu in _types(wishes.allowed):
        most = min(gpu.max_count or MOST_GPUS, wishes.max_count)
        for count, spread in spreads.items():
            if count <= most:
                yield _examined(model, load, engine, (gpu, count, spread), wishes)


def _types(allowed: Sequence[str]) -> list[GPU]:
    unique = {gpu.name: gpu for gpu in gpu_catalogue().values()}
    if not allowed:
        return list(unique.values())
    names = {gpu_catalogue()[name].name for name in allowed if name in gpu_catalogue()}
    return [gpu for name, gpu in unique.items() if name in names]


def examine(
    model: ModelFacts,
    load: Load,
    engine: EngineName | Serving,
    choice: tuple[GPU, int],
    wishes: Wishes | None = None,
    *,
    split: Split | Parallelism | None = None,
) -> Pick:
    """Work out how a model sits on a GPU type and count.

    Args:
        model: The model, as it is loaded.
        load: What it must bear.
        engine: Whose memory reserve counts.
        choice: The type and the count.
        wishes: What the choice must keep to.
        split: How the engine was told to spread it. Default: tensor parallelism over all GPUs.
    """
    gpu, count = choice
    if isinstance(split, Split):
        needs = f"needs {split.gpus} GPUs" if split.gpus > count else ""
        spread = Spread(split, needs)
    else:
        spread = (split or _usual(engine)).over(model, count)
    return _examined(model, load, engine, (gpu, count, spread), wishes)


def _examined(
    model: ModelFacts,
    load: Load,
    engine: EngineName | Serving,
    choice: tuple[GPU, int, Spread],
    wishes: Wishes | None,
) -> Pick:
    gpu, count, spread = choice
    split, served = spread.split, serving(engine)
    memory = breakdown(model, load, split, gpu.total_gib, served)
    rate = speed(held_by(model, served.engine), load, split, gpu)
    one = Pick(gpu, count, split, memory, rate)
    never = (
        beyond_own(load.context, model.context_limit)
        or _undivided(spread)
        or _cannot_run(model, gpu, served)
    )
    if never:
        return replace(one, problem=never)
    one = replace(one, memory_fraction=roomier_fraction(model, split, memory, served))
    return replace(one, problem=_problem(one, wishes or Wishes(), served))


def _undivided(spread: Spread) -> str:
    return f"{spread.problem}; {spread.cure} does" if spread.cure else spread.problem


def _problem(one: Pick, wishes: Wishes, served: Serving) -> str:
    if not one.breakdown.fits:
        return _short(one, served)
    if wishes.max_usd_per_hour is not None and one.usd_per_hour > wishes.max_usd_per_hour:
        return f"${one.usd_per_hour:.2f} an hour is over ${wishes.max_usd_per_hour:.2f}"
    slow = one.speed.tokens_per_s[0]
    if wishes.min_tokens_per_s is not None and slow < wishes.min_tokens_per_s:
        return f"about {slow:.0f} tokens/s, under {wishes.min_tokens_per_s:.0f}"
    return ""


def _short(one: Pick, served: Serving) -> str:
    """How much is missing, and the share of the card that would make room."""
    missing = f"short of {-one.breakdown.free_bytes / GIB:.1f} GiB per GPU"
    if one.memory_fraction is None:
        return missing
    return f"{missing}; {makes_room(one.memory_fraction, served)}"


def _cannot_run(model: ModelFacts, gpu: GPU, served: Serving) -> str:
    capability = float(gpu.compute_capability)
    computes = served.engine == "transformers"  # PyTorch does what the card has no units for
    if not computes and model.dtype == "bfloat16" and capability < 8.0:  # noqa: PLR2004
        return f"bfloat16 needs compute capability 8.0, {gpu.name} has {capability}; dtype='float16' runs"
    for name, needed in _NEEDS.items():
        if model.quantization and name in model.quantization and capability < needed:
            emulated = name == "fp8" and capability >= 8.0  # noqa: PLR2004 - Marlin kernels store fp8
            if not emulated:
                return f"{name} needs compute capability {needed}, {gpu.name} has {capability}"
    return ""


def largest_context(
    model: ModelFacts, load: Load, split: Split, total_gib: float, engine: EngineName | Serving
) -> int:
    """Return the longest context that fits at a concurrency, at most the model's own; 0 if none does."""

    def fits(context: int) -> bool:
        return breakdown(model, replace(load, context=context), split, total_gib, engine).fits

    return largest(fits, model.max_context or 1 << 24)


def largest_concurrency(
    model: ModelFacts, load: Load, split: Split, total_gib: float, engine: EngineName | Serving
) -> int:
    """Return how many requests of a context fit at once; 0 if none does."""

    def fits(concurrency: int) -> bool:
        wanted = replace(load, concurrency=concurrency)
        return breakdown(model, wanted, split, total_gib, engine).fits

    return largest(fits, 1 << 16)
