"""Which GPUs a model fits, the cheapest first, and why each cheaper one does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..declare.gpu import GPU, gpu_catalogue
from .memory import Breakdown, EngineName, Load, Split, breakdown, largest
from .model import GIB, ModelFacts
from .speed import Speed, speed

__all__ = ["Pick", "Wishes", "largest_concurrency", "largest_context", "picks", "splits_of"]

_MOST_GPUS = 8
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
    max_count: int = _MOST_GPUS
    min_tokens_per_s: float | None = None
    prefer_fewer: bool = False


@dataclass(frozen=True, slots=True)
class Pick:
    """One GPU type and count, and how the model sits on it.

    Attributes:
        problem: Why it is no choice; empty when it is one.
    """

    gpu: GPU
    count: int
    split: Split
    breakdown: Breakdown
    speed: Speed
    problem: str = ""

    @property
    def usd_per_hour(self) -> float:
        """List price of the GPUs; CPU and memory come on top."""
        return self.gpu.usd_per_second * 3600 * self.count

    @property
    def selection(self) -> str:
        """Modal's string for it: ``"H100:2"``."""
        return self.gpu.name if self.count == 1 else f"{self.gpu.name}:{self.count}"


def picks(
    model: ModelFacts, load: Load, engine: EngineName, wishes: Wishes | None = None
) -> list[Pick]:
    """Return every type and count of the catalogue, cheapest first, each with its problem if it has one."""
    wishes = wishes or Wishes()
    found = list(_candidates(model, load, engine, wishes))
    if wishes.prefer_fewer:
        return sorted(found, key=lambda one: (one.count, one.usd_per_hour))
    return sorted(found, key=lambda one: (one.usd_per_hour, one.count))


def _candidates(
    model: ModelFacts, load: Load, engine: EngineName, wishes: Wishes
) -> Iterator[Pick]:
    splits = splits_of(model)
    for gpu in _types(wishes.allowed):
        most = min(gpu.max_count or _MOST_GPUS, wishes.max_count)
        for count, split in splits.items():
            if count <= most:
                yield _examined(model, load, engine, (gpu, count, split), wishes)


def splits_of(model: ModelFacts) -> dict[int, Split]:
    """Return how a model is spread over each count of GPUs that it can be spread over.

    Where only whole experts divide, as fp8 blocks may have it, the split says so.
    """
    tensor = model.valid_tensor_parallel(_MOST_GPUS)
    whole = model.valid_tensor_parallel(_MOST_GPUS, whole_experts=True) if model.experts else []
    found = {size: Split(tensor=size, expert=size) for size in whole}
    found |= {size: Split(tensor=size) for size in tensor}
    return dict(sorted(found.items()))


def _types(allowed: Sequence[str]) -> list[GPU]:
    unique = {gpu.name: gpu for gpu in gpu_catalogue().values()}
    if not allowed:
        return list(unique.values())
    names = {gpu_catalogue()[name].name for name in allowed if name in gpu_catalogue()}
    return [gpu for name, gpu in unique.items() if name in names]


def examine(
    model: ModelFacts,
    load: Load,
    engine: EngineName,
    choice: tuple[GPU, int],
    wishes: Wishes | None = None,
) -> Pick:
    """Work out how a model sits on a GPU type and count, tensor parallel over all of them."""
    gpu, count = choice
    split = splits_of(model).get(count)
    found = _examined(model, load, engine, (gpu, count, split or Split(tensor=count)), wishes)
    if split is None:
        problem = f"tensor parallelism over {count} does not divide the model"
        return replace(found, problem=problem)
    return found


def _examined(
    model: ModelFacts,
    load: Load,
    engine: EngineName,
    choice: tuple[GPU, int, Split],
    wishes: Wishes | None,
) -> Pick:
    gpu, count, split = choice
    memory = breakdown(model, load, split, gpu.total_gib, engine)
    one = Pick(gpu, count, split, memory, speed(model, load, split, gpu))
    return replace(one, problem=_problem(model, one, wishes or Wishes(), engine))


def _problem(model: ModelFacts, one: Pick, wishes: Wishes, engine: EngineName) -> str:
    if missing := _cannot_run(model, one.gpu, engine):
        return missing
    if not one.breakdown.fits:
        return f"short of {-one.breakdown.free_bytes / GIB:.1f} GiB per GPU"
    if wishes.max_usd_per_hour is not None and one.usd_per_hour > wishes.max_usd_per_hour:
        return f"${one.usd_per_hour:.2f} an hour is over ${wishes.max_usd_per_hour:.2f}"
    slow = one.speed.tokens_per_s[0]
    if wishes.min_tokens_per_s is not None and slow < wishes.min_tokens_per_s:
        return f"about {slow:.0f} tokens/s, under {wishes.min_tokens_per_s:.0f}"
    return ""


def _cannot_run(model: ModelFacts, gpu: GPU, engine: EngineName) -> str:
    capability = float(gpu.compute_capability)
    if engine != "transformers" and model.dtype == "bfloat16" and capability < 8.0:  # noqa: PLR2004
        return f"bfloat16 needs compute capability 8.0, {gpu.name} has {capability}; dtype='float16' runs"
    for name, needed in _NEEDS.items():
        if model.quantization and name in model.quantization and capability < needed:
            emulated = name == "fp8" and capability >= 8.0  # noqa: PLR2004 - Marlin kernels store fp8
            if not emulated:
                return f"{name} needs compute capability {needed}, {gpu.name} has {capability}"
    return ""


def largest_context(
    model: ModelFacts, load: Load, split: Split, total_gib: float, engine: EngineName
) -> int:
    """Return the longest context that fits at a concurrency, at most the model's own; 0 if none does."""

    def fits(context: int) -> bool:
        return breakdown(model, replace(load, context=context), split, total_gib, engine).fits

    return largest(fits, model.max_context or 1 << 24)


def largest_concurrency(
    model: ModelFacts, load: Load, split: Split, total_gib: float, engine: EngineName
) -> int:
    """Return how many requests of a context fit at once; 0 if none does."""

    def fits(concurrency: int) -> bool:
        wanted = replace(load, concurrency=concurrency)
        return breakdown(model, wanted, split, total_gib, engine).fits

    return largest(fits, 1 << 16)
