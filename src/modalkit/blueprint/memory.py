"""What the GPUs of each choice of a service hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..declare.gpu import GPUFit, GPUProfile, gpu_catalogue
from ..errors import SizingError
from ..fitting import fit_service
from ..sizing.demand import Demand
from ..sizing.fit import Pick
from ..sizing.model import GIB
from .known import Known
from .values import Memory, MemoryLine

__all__ = ["examined", "memory_of", "passed_over"]


def examined(choice: GPUProfile, demand: Demand) -> Pick | None:
    """Work out how a model sits on a GPU choice; None for one that is not in the catalogue."""
    gpu = gpu_catalogue().get(choice.gpu)
    return demand.on(gpu, choice.count) if gpu else None


def memory_of(known: Known) -> tuple[Memory, ...]:
    """Return what each GPU choice holds; nothing where the model or the engine is not known."""
    demand, profile = known.demand, known.plan.gpu
    if demand is None or profile is None:
        return ()
    picks = [(str(choice), examined(choice, demand)) for choice in profile.choices]
    return tuple(_memory(name, pick, demand) for name, pick in picks if pick is not None)


def passed_over(known: Known) -> tuple[str, ...]:
    """Return why not each cheaper choice, where the GPUs were left to modalkit."""
    if known.facts is None or known.demand is None or not isinstance(known.service.gpu, GPUFit):
        return ()
    beside = known.plan.locked.beside if known.plan.locked else ()
    try:
        return tuple(fit_service(known.service, known.facts, beside).explain(cheaper_only=True))
    except SizingError:  # the lock chose when prices or cards were others
        return ()


def _memory(name: str, pick: Pick, demand: Demand) -> Memory:
    held = pick.breakdown
    return Memory(
        gpu=name,
        engine=demand.serving.engine,
        context=demand.load.context,
        concurrency=demand.load.concurrency,
        told=tuple(_told(pick, demand)),
        uncounted=(*demand.uncounted, *demand.unsped),
        total_bytes=held.total_bytes,
        lines=tuple(
            MemoryLine(what=line.what, bytes=line.bytes, source=line.how) for line in held.lines
        ),
        free_bytes=held.free_bytes,
        problem=pick.problem,
        memory_fraction=pick.memory_fraction,
        largest_context=demand.largest_context(pick),
        largest_concurrency=demand.largest_concurrency(pick),
        tokens_per_s=pick.speed.tokens_per_s,
        tokens_checked=pick.speed.tokens_checked,
        first_token_s=pick.speed.first_token_s,
        first_token_checked=pick.speed.first_token_checked,
    )


def _told(pick: Pick, demand: Demand) -> Iterator[str]:
    """What the engine was told that changes what a GPU holds."""
    split, serving, load = pick.split, demand.serving, demand.load
    parts = {"tensor": split.tensor, "pipeline": split.pipeline, "data": split.data}
    spread = [f"{name} {ranks}" for name, ranks in parts.items() if ranks > 1]
    if spread:
        yield f"{' x '.join(spread)} parallel"
    if demand.parallelism.experts and split.expert:
        yield f"experts over {split.expert}"
    if serving.memory_fraction is not None:
        yield f"{serving.memory_fraction:.0%} of each card"
    if serving.chunk_tokens is not None:
        yield f"{serving.chunk_tokens:,} prompt tokens at once"
    if demand.model.quantization is not None:
        yield f"{demand.model.quantization} weights"
    if load.cache_bytes != 2:  # noqa: PLR2004 - 16 bit, the usual
        yield f"{8 * load.cache_bytes:.2g}-bit KV cache"
    if idle := pick.count - split.gpus:
        yield f"{idle} of {pick.count} GPUs not used"
    if load.offloaded_bytes:
        yield f"{load.offloaded_bytes / GIB:.3g} GiB of weights in the CPU's memory"
