"""MK117 to MK119: whether an engine can start at the context and over the GPUs it is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..commands import SPLICED
from ..declared import ModalFile, Unit
from ..graphics import Choice
from ..models import GIB, Load
from ..rule import Problem, rule
from ..services import scaling_number
from ..sizes import facts_of
from .fit import engine_loads, may_be_smaller, single_choices, tensor_parallel

if TYPE_CHECKING:
    from ...sizing.fit import Pick
    from ...sizing.memory import Split
    from ...sizing.model import ModelFacts

__all__ = [
    "concurrency_does_not_fit",
    "context_does_not_fit",
    "parallelism_does_not_divide",
]

_FRACTION = 0.92  # of a card, which vLLM 0.33 takes; 0.9 before
_LEAST_CONTEXT = 2048  # tokens; less is no cure
_ROUND = 1024  # tokens; a proposed context is a multiple
_CONTEXT = ("max_model_len", "context_length")
_CONTEXT_FLAGS = ("--max-model-len", "--context-length")
_CHUNK = ("prefill_chunk_tokens", "max_num_batched_tokens")
_CHUNK_FLAGS = ("--max-num-batched-tokens", "--chunked-prefill-size")
_PIPELINE_FLAGS = ("--pipeline-parallel-size", "-pp", "--pp-size", "--pp")
_CONTEXT_NAMES = ("context_length", "--max-model-len", "max_model_len")
_SHARE_NAMES = ("memory_fraction", "--gpu-memory-utilization", "gpu_memory_utilization")
# What changes the context, the cache or the weights in a way that is not worked out here.
_UNCLEAR = (
    "--config", "--hf-overrides", "--rope-scaling", "--json-model-override-args", "--kv-cache-memory-bytes",
    "--num-gpu-blocks-override", "--dtype", "--runner", "--task",
)  # fmt: skip
_HIDING = {*_UNCLEAR, SPLICED}
_UNCLEAR_KEYWORDS = {word.removeprefix("--").replace("-", "_") for word in _UNCLEAR}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an engine must hold: a number of requests of a context, and how it keeps them."""

    context: int
    is_own: bool  # the context is the model's, since nothing else was said
    requests: int
    cache_bytes: float
    told_fraction: float | None
    told_chunk: int | None  # prompt tokens read at once

    @property
    def fraction(self) -> float:
        """The share of a card that the engine takes, as far as is known."""
        return self.told_fraction or _FRACTION


@dataclass(frozen=True, slots=True)
class _Start:
    """A known model that an engine starts on one GPU choice, which holds its weights."""

    load: Load
    choice: Choice
    facts: ModelFacts
    split: Split
    asked: _Asked

    @property
    def context(self) -> int:
        """Tokens of a request."""
        return self.asked.context or self.facts.max_context

    @property
    def room(self) -> float:
        """Bytes of a GPU that the engine takes."""
        return self.choice.gpu.total_gib * GIB * self.asked.fraction

    @property
    def weights(self) -> float:
        """Bytes of the weights on a GPU."""
        from ...sizing.memory import weights_per_gpu  # noqa: PLC0415 - loads pydantic

        return weights_per_gpu(self.facts, self.split)

    def cache(self, requests: int, context: int) -> float:
        """Bytes that requests of a context take on a GPU; what the engine works with comes on top."""
        from ...sizing.memory import Load as Work  # noqa: PLC0415
        from ...sizing.memory import cache_per_gpu, state_per_gpu  # noqa: PLC0415

        work = Work(context=context, concurrency=requests, cache_bytes=self.asked.cache_bytes)
        kept = cache_per_gpu(self.facts, work, self.split)
        return kept + state_per_gpu(self.facts, work, self.split)

    def holds(self, requests: int, context: int) -> bool:
        """Whether a GPU holds the weights and these requests, with nothing for the work of the engine."""
        return self.weights + self.cache(requests, context) <= self.room

    def planned(self, requests: int, context: int) -> Pick:
        """What ``modalkit plan`` says of these requests: with what the engine works with, so that a cure holds."""
        from ...sizing.fit import examine  # noqa: PLC0415
        from ...sizing.memory import Load as Work  # noqa: PLC0415
        from ...sizing.serving import Serving  # noqa: PLC0415

        served = Serving(
            "sglang" if self.load.by == "sglang" else "vllm",
            memory_fraction=self.asked.told_fraction,
            chunk_tokens=self.asked.told_chunk,
        )
        work = Work(context=context, concurrency=requests, cache_bytes=self.asked.cache_bytes)
        card = (self.choice.gpu, self.choice.count)
        return examine(self.facts, work, served, card, split=self.split)


@rule(
    "MK117",
    "context-does-not-fit",
    "error",
    why="The engine works its cache out when it starts, and ends when a request of the whole context does not fit.",
)
def context_does_not_fit(file: ModalFile) -> Iterator[Problem]:
    """A known model whose weights and the cache of one full context are more than one of the GPU choices has."""
    for start in _starts(file):
        if not start.holds(1, start.context):
            yield Problem(start.choice.at, _said(start, 1), _cure(start))


@rule(
    "MK119",
    "concurrency-does-not-fit",
    "note",
    why="The engine starts; under load requests wait, or are taken out and worked out again.",
)
def concurrency_does_not_fit(file: ModalFile) -> Iterator[Problem]:
    """A service that lets more requests in than the cache of one of its GPU choices holds at full length."""
    for start in _starts(file):
        requests = start.asked.requests
        if start.holds(1, start.context) and not start.holds(requests, start.context):
            yield Problem(start.choice.at, _said(start, requests), _fewer(start))


def _starts(file: ModalFile) -> Iterator[_Start]:
    for unit in file.units:
        choices = single_choices(file, unit)
        for load in engine_loads(file, unit) if choices else ():
            asked = _asked(file, unit, load)
            facts = facts_of(file, load) if asked is not None else None
            if asked is None or facts is None or not (asked.context or facts.max_context):
                continue
            for choice in choices:
                split = _split(file, load, choice)
                # MK114 says that GPUs are not used, and MK111 that the weights do not fit.
                if split is not None and facts.loaded_bytes <= choice.total_gib * GIB:
                    yield _Start(load, choice, facts, split, asked)


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
    chunk = _number(file, load, _CHUNK, _CHUNK_FLAGS) or 0
    requests = scaling_number(file, unit, "concurrency") if load.is_declared else None
    kept = file.names.text(load.keyword("kv_cache_dtype")) or load.flag("--kv-cache-dtype") or ""
    return _Asked(
        int(context or 0),
        context is None,
        max(1, requests or 1),
        1.0 if "8" in kept else 2.0,
        fraction,
        int(chunk) if chunk > 0 else None,
    )


def _is_unknown(number: float | None) -> bool:
    """Whether a number is said, in a way that is not known; vLLM takes -1 as what fits."""
    return number is not None and number <= 0


def _is_unclear(file: ModalFile, load: Load) -> bool:
    given = file.options(load.call).given
    if _UNCLEAR_KEYWORDS & set(given) or any(word in _HIDING for word in load.flags):
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


def _said(start: _Start, count: int) -> str:
    requests = f"{count} requests" if count > 1 else "one request"
    whose = "its own context (none is said)" if start.asked.is_own else "a context"
    name, number = start.choice.gpu.name, start.choice.count
    each = f"each of {number} {name}" if number > 1 else name
    return (
        f"{start.load.model} at {whose} of {start.context:,} tokens: {start.weights / GIB:.1f} GiB of weights and "
        f"{start.cache(count, start.context) / GIB:.1f} GiB of cache for {requests}; the engine takes "
        f"{start.room / GIB:.1f} GiB of {each}."
    )


def _cure(start: _Start) -> str:
    from ...sizing.memory import largest  # noqa: PLC0415

    def fits(thousands: int) -> bool:
        return start.planned(1, thousands * _ROUND).breakdown.fits

    most = largest(fits, max(1, start.facts.max_context // _ROUND)) * _ROUND
    share = start.planned(1, start.context).memory_fraction
    if most < _LEAST_CONTEXT and share is None:
        return f"A larger GPU, or more of them; `modalkit size {start.load.model}` lists those it fits."
    shorter = [_written(start, _CONTEXT_NAMES, most)] if most >= _LEAST_CONTEXT else []
    roomier = [_written(start, _SHARE_NAMES, share)] if share is not None else []
    return f"{', '.join((*shorter, *roomier))}, or a larger GPU."


def _written(start: _Start, names: tuple[str, str, str], value: float) -> str:
    """A setting as the start at hand is written: a service's field, a flag, or vLLM's keyword."""
    field, flag, keyword = names
    if start.load.is_declared:
        return f"{field}={value}"
    return f"{flag} {value}" if start.load.flags else f"{keyword}={value}"


def _fewer(start: _Start) -> str:
    from ...sizing.memory import largest  # noqa: PLC0415

    def fits(requests: int) -> bool:
        return start.planned(requests, start.context).breakdown.fits

    most = max(1, largest(fits, start.asked.requests))
    return f"Scaling(concurrency={most}), a shorter context_length, or a larger GPU, where requests are that long."


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
