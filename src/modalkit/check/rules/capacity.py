"""MK117 and MK118: whether an engine can start at the context and over the GPUs it is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..declared import ModalFile, Unit
from ..graphics import Choice
from ..models import GIB, Load
from ..rule import Problem, rule
from ..services import scaling_number
from ..sizes import facts_of
from .fit import engine_loads, may_be_smaller, single_choices, tensor_parallel

if TYPE_CHECKING:
    from ...sizing.memory import Split
    from ...sizing.model import ModelFacts

__all__ = ["context_does_not_fit", "parallelism_does_not_divide"]

_FRACTION = 0.92  # of a card, which vLLM 0.33 takes; 0.9 before
_LEAST_CONTEXT = 2048  # tokens; less is no cure
_ROUND = 1024  # tokens; a proposed context is a multiple
_CONTEXT = ("max_model_len", "context_length")
_CONTEXT_FLAGS = ("--max-model-len", "--context-length")
_PIPELINE_FLAGS = ("--pipeline-parallel-size", "-pp", "--pp-size", "--pp")
# What changes the context, the cache or the weights in a way that is not worked out here.
_UNCLEAR = (
    "--config", "--hf-overrides", "--rope-scaling", "--json-model-override-args", "--kv-cache-memory-bytes",
    "--num-gpu-blocks-override", "--dtype", "--runner", "--task",
)  # fmt: skip
_UNCLEAR_KEYWORDS = {word.removeprefix("--").replace("-", "_") for word in _UNCLEAR}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an engine must hold: a number of requests of a context, and how it keeps them."""

    context: int
    is_own: bool  # the context is the model's, since nothing else was said
    requests: int
    cache_bytes: float
    fraction: float


@rule(
    "MK117",
    "context-does-not-fit",
    "error",
    why="The engine works its cache out when it starts, and ends when a request of the whole context does not fit.",
)
def context_does_not_fit(file: ModalFile) -> Iterator[Problem]:
    """A known model whose weights and the cache of one full context are more than one of the GPU choices has."""
    for unit in file.units:
        choices = single_choices(file, unit)
        for load in engine_loads(file, unit) if choices else ():
            asked = _asked(file, unit, load)
            facts = facts_of(file, load) if asked is not None else None
            for choice in choices if facts is not None else ():
                if asked is not None and facts is not None:
                    yield from _judged(file, load, choice, facts, asked)


def _asked(file: ModalFile, unit: Unit, load: Load) -> _Asked | None:
    """What a load must hold; None for an engine that makes do with less, or an unclear start."""
    if not (load.by.startswith("vllm") or load.is_declared) or load.by == "transformers":
        return None
    if may_be_smaller(file, load) or _is_unclear(file, load):
        return None
    context = _number(file, load, _CONTEXT, _CONTEXT_FLAGS)
    fraction = _number(
        file, load, ("gpu_memory_utilization", "memory_fraction"), ("--gpu-memory-utilization",)
    )
    if _is_unknown(context) or _is_unknown(fraction):
        return None
    requests = scaling_number(file, unit, "concurrency") if load.is_declared else None
    kept = file.names.text(load.keyword("kv_cache_dtype")) or load.flag("--kv-cache-dtype") or ""
    return _Asked(
        int(context or 0),
        context is None,
        max(1, requests or 1),
        1.0 if "8" in kept else 2.0,
        fraction or _FRACTION,
    )


def _is_unknown(number: float | None) -> bool:
    """Whether a number is said, in a way that is not known; vLLM takes -1 as what fits."""
    return number is not None and number <= 0


def _is_unclear(file: ModalFile, load: Load) -> bool:
    given = file.options(load.call).given
    if _UNCLEAR_KEYWORDS & set(given) or any(word in _UNCLEAR for word in load.flags):
        return True
    # A word that is not known may be any flag, unless a flag takes it.
    before = ("", *load.flags)
    return any(
        (not word or "\0" in word) and not before[index].startswith("--")
        for index, word in enumerate(load.flags)
    )


def _number(
    file: ModalFile, load: Load, keywords: tuple[str, ...], flags: tuple[str, ...]
) -> float | None:
    """The number that a start says; None where it says none, 0 where it is not known."""
    given = file.options(load.call).given
    value = next((given[name].value for name in keywords if name in given), None)
    if value is not None:
        return file.names.number(value) or 0
    word = load.flag(*flags)
    if word is None:
        return None
    return float(word) if word.replace(".", "", 1).isdecimal() else 0


def _judged(
    file: ModalFile, load: Load, choice: Choice, facts: ModelFacts, asked: _Asked
) -> Iterator[Problem]:
    context = asked.context or facts.max_context
    split = _split(file, load, choice)
    room = choice.gpu.total_gib * GIB * asked.fraction
    if split is None or facts.loaded_bytes > choice.total_gib * GIB:
        return  # MK114 and MK111 say it
    if context and _needs(facts, split, asked, context) > room:
        yield _short(load, choice, (facts, split, asked), context)


def _split(file: ModalFile, load: Load, choice: Choice) -> Split | None:
    """How a model is spread over a choice; None where an engine is not told to use it, or to use more."""
    from ...sizing.memory import Split  # noqa: PLC0415 - loads pydantic; the model is known here

    pipeline = _number(
        file, load, ("pipeline_parallel_size", "pipeline_parallel", "pp_size"), _PIPELINE_FLAGS
    )
    groups, tensor = max(1, int(pipeline or 1)), tensor_parallel(file, load)
    if tensor is None and not load.is_declared and choice.count > groups:
        return None
    size = tensor or max(1, choice.count // groups)
    return Split(tensor=size, pipeline=groups) if 1 <= size <= choice.count else None


def _weights(facts: ModelFacts, split: Split) -> float:
    from ...sizing.memory import weights_per_gpu  # noqa: PLC0415

    return weights_per_gpu(facts, split)


def _needs(facts: ModelFacts, split: Split, asked: _Asked, context: int) -> float:
    """Bytes of a GPU for the weights and the requests alone; what the engine works with comes on top."""
    from ...sizing.memory import Load as Work  # noqa: PLC0415
    from ...sizing.memory import cache_per_gpu, state_per_gpu  # noqa: PLC0415

    work = Work(context=context, concurrency=asked.requests, cache_bytes=asked.cache_bytes)
    kept = cache_per_gpu(facts, work, split) + state_per_gpu(facts, work, split)
    return _weights(facts, split) + kept


def _short(
    load: Load, choice: Choice, sized: tuple[ModelFacts, Split, _Asked], context: int
) -> Problem:
    facts, split, asked = sized
    room = choice.gpu.total_gib * GIB * asked.fraction
    weights = _weights(facts, split)
    cache = _needs(facts, split, asked, context) - weights
    requests = f"{asked.requests} requests" if asked.requests > 1 else "one request"
    whose = "its own context (none is said)" if asked.is_own else "a context"
    each = f"each of {choice.count} {choice.gpu.name}" if choice.count > 1 else choice.gpu.name
    return Problem(
        choice.at,
        f"{load.model} at {whose} of {context:,} tokens: {weights / GIB:.1f} GiB of weights and {cache / GIB:.1f} GiB "
        f"of cache for {requests}; the engine takes {room / GIB:.1f} GiB of {each}.",
        _cure(load, sized, room),
    )


def _cure(load: Load, sized: tuple[ModelFacts, Split, _Asked], room: float) -> str:
    from ...sizing.memory import largest  # noqa: PLC0415

    facts, split, asked = sized
    spare = 1.5 * GIB + 0.03 * room  # for activations and graphs, which differ by release

    def fits(thousands: int) -> bool:
        return _needs(facts, split, asked, thousands * _ROUND) + spare < room

    most = largest(fits, max(1, facts.max_context // _ROUND)) * _ROUND
    if most < _LEAST_CONTEXT:
        return f"A larger GPU, or more of them; `modalkit size {load.model}` lists those it fits."
    named = f"context_length={most}" if load.is_declared else f"max_model_len={most}"
    said = f"--max-model-len {most}" if load.flags and not load.is_declared else named
    return f"{said}, or a larger GPU."


@rule(
    "MK118",
    "parallelism-does-not-divide",
    "error",
    why="Each GPU takes a whole share of the attention heads; the engine refuses to start otherwise.",
)
def parallelism_does_not_divide(file: ModalFile) -> Iterator[Problem]:
    """Tensor parallelism that does not divide the attention heads of a known model."""
    for unit in file.units:
        for load in engine_loads(file, unit) if unit.option("gpu") is not None else ():
            size = tensor_parallel(file, load)
            facts = facts_of(file, load) if size is not None and size > 1 else None
            if size is None or facts is None or facts.attention_heads % size == 0:
                continue
            able = [str(one) for one in facts.valid_tensor_parallel(8)]
            yield Problem(
                load.at,
                f"{load.model} has {facts.attention_heads} attention heads, which {size} GPUs do not divide.",
                f"Tensor parallelism over {', '.join(able)}, with as many GPUs.",
            )
