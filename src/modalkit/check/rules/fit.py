"""MK111 to MK115: whether what is loaded goes onto the GPUs, by what names and flags say alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache

from ..declared import ModalFile, Unit
from ..graphics import Choice, gpu_choices
from ..models import GIB, Load, loads_of
from ..rule import Problem, rule
from ..services import declared_load
from ..sizes import Size, size_of
from ..thresholds import DEAR_USD

__all__ = [
    "bf16_without_units",
    "engine_loads",
    "fp8_without_units",
    "gpu_far_too_large",
    "may_be_smaller",
    "model_too_big",
    "parallelism_over_count",
    "single_choices",
    "tensor_parallel",
    "unused_gpus",
]

# Keywords and flags by which the GPU holds less than all weights in their own type.
_LESS = re.compile(r"quantization|bnb|load_in_[48]bit|gguf|offload|max_memory")
_MORE_OPTIONS = ("model_kwargs", "engine_kwargs")
_OFFLOADS = re.compile(r"offload|init_empty_weights|and_dispatch")
_ALL_ON_GPU = ("auto", "cuda", "cuda:0", "balanced", "sequential")
_CLUSTERED = ("modal.clustered", "modal.experimental.clustered")
_TP_KEYWORDS = ("tensor_parallel_size", "tp_size", "tensor_parallel")
_IDLE_CARD = 0.05  # weights over memory; the cheapest card would hold them
_TP_FLAGS = ("--tensor-parallel-size", "-tp", "--tp", "--tp-size")
_SPLITS = (*_TP_FLAGS, "--data-parallel-size", "-dp", "--dp", "--dp-size", "--pipeline-parallel-size", "-pp", "--pp-size")  # fmt: skip


def engine_loads(file: ModalFile, unit: Unit) -> list[Load]:
    """Return what is loaded onto the GPU; fetching alone needs none, nor does a tokenizer."""
    loads = [load for load in loads_of(file, unit) if not load.is_download and not load.is_small]
    declared = declared_load(file, unit)
    return [*loads, declared] if declared is not None else loads


def single_choices(file: ModalFile, unit: Unit) -> list[Choice]:
    """Return the GPU choices of a container that works alone and has no other GPU when it is called.

    A cluster splits a model over several containers, and ``with_options(gpu=...)`` may give another card.
    """
    clustered = any(one.qualname.startswith(_CLUSTERED) for one in unit.decorators)
    choices = [] if clustered else gpu_choices(file, unit)
    return choices if choices and unit.name not in _given_another(file) else []


@lru_cache(maxsize=2)  # several rules ask for each unit of a file
def _given_another(file: ModalFile) -> frozenset[str]:
    """The names of classes that are called with another GPU than their own."""
    return frozenset(
        call.func.value.id
        for _, call in file.calls_in(file.source.tree)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "with_options"
        if isinstance(call.func.value, ast.Name) and not file.options(call).lacks("gpu")
    )


@rule(
    "MK111",
    "model-too-big",
    "error",
    why="The container runs out of memory minutes after it started, and Modal starts another.",
)
def model_too_big(file: ModalFile) -> Iterator[Problem]:
    """Weights that are larger than all memory of one of the GPU choices."""
    for unit in file.units:
        choices = single_choices(file, unit)
        if not choices or _offloads(file, unit):
            continue
        for load in engine_loads(file, unit):
            size = None if may_be_smaller(file, load) else size_of(file, load)
            for choice in choices if size is not None else ():
                if size is not None and size.bytes > choice.total_gib * GIB:
                    yield _too_big(load, size, choice)


def may_be_smaller(file: ModalFile, load: Load) -> bool:
    """Return whether the GPU holds less than the weights as published: quantised, or partly elsewhere."""
    options = file.options(load.call)
    names = [*options.given, *load.flags]
    for name in _MORE_OPTIONS:
        value = options.value(name)
        for possible in file.names.possible(value) if value is not None else ():
            if not isinstance(possible, ast.Dict):
                return True
            names += [file.names.text(key) or "" for key in possible.keys]
    return not options.complete or any(_LESS.search(name) for name in names) or _placed(file, load)


def _placed(file: ModalFile, load: Load) -> bool:
    """Whether ``device_map`` says of its own where the parts go, the CPU or a disk perhaps."""
    value = file.options(load.call).value("device_map")
    return value is not None and file.names.text(value) not in _ALL_ON_GPU


def _offloads(file: ModalFile, unit: Unit) -> bool:
    """Whether a call says that weights stay off the GPU: ``enable_sequential_cpu_offload()``."""
    return any(
        _OFFLOADS.search(call.func.attr if isinstance(call.func, ast.Attribute) else name)
        or (name == "torch.device" and call.args and file.names.text(call.args[0]) == "meta")
        for body in unit.bodies
        for name, call in file.calls_in(body)
    )


def _too_big(load: Load, size: Size, choice: Choice) -> Problem:
    cards = f"{choice.count} {choice.gpu.name}" if choice.count > 1 else f"one {choice.gpu.name}"
    return Problem(
        choice.at,
        f"{load.model} has about {size.bytes / GIB:.0f} GiB of weights ({size.by}); {cards} "
        f"{'have' if choice.count > 1 else 'has'} {choice.total_gib:.0f} GiB.",
        "A larger GPU, more of them, or a quantised model; "
        f"`modalkit size {load.model}` lists the GPUs it fits.",
    )


@rule(
    "MK112",
    "gpu-far-too-large",
    "note",
    why="A card is paid for by the second, used or not.",
)
def gpu_far_too_large(file: ModalFile) -> Iterator[Problem]:
    """A dear card for a model that fills a twentieth of it, and nothing else is loaded."""
    for unit in file.units:
        choices = gpu_choices(file, unit)
        sizes = [size_of(file, load) for load in engine_loads(file, unit)] if choices else []
        known = [size.bytes for size in sizes if size is not None]
        if len(choices) != 1 or len(known) != len(sizes) or not known:
            continue
        (choice,) = choices
        used = sum(known) / (choice.total_gib * GIB)
        if used < _IDLE_CARD and choice.usd_per_hour > DEAR_USD and not _trains(unit):
            yield Problem(
                choice.at,
                f"The weights of {unit.name} fill {used:.0%} of gpu={choice.text!r}, "
                f"${choice.usd_per_hour:.2f} an hour.",
                'gpu="L4" ($0.80 an hour), unless throughput is what it is for.',
            )


def _trains(unit: Unit) -> bool:
    return any(word in unit.name.lower() for word in ("train", "tune", "bench"))


@rule(
    "MK113",
    "parallelism-over-gpu-count",
    "error",
    why="The engine waits for GPUs that are not there, or ends at once.",
)
def parallelism_over_count(file: ModalFile) -> Iterator[Problem]:
    """Tensor parallelism over more GPUs than the container has."""
    for unit in file.units:
        choices = single_choices(file, unit)
        for load in engine_loads(file, unit) if choices else ():
            wanted = tensor_parallel(file, load)
            for choice in choices:
                if wanted is not None and wanted > choice.count:
                    yield Problem(
                        choice.at,
                        f"{load.by} is started over {wanted} GPUs, but gpu={choice.text!r} has "
                        f"{choice.count}.",
                        f"gpu={f'{choice.gpu.name}:{wanted}'!r}.",
                    )


def tensor_parallel(file: ModalFile, load: Load) -> int | None:
    """Return over how many GPUs an engine is told to split each layer; None where it is not said."""
    for name in _TP_KEYWORDS:
        number = file.names.number(load.keyword(name))
        if number is not None:
            return int(number)
    word = load.flag(*_TP_FLAGS) or ""
    return int(word) if word.isdecimal() else None


@rule(
    "MK114",
    "unused-gpus",
    "warning",
    why="vLLM and SGLang use one GPU unless they are told; the others are paid for and idle.",
)
def unused_gpus(file: ModalFile) -> Iterator[Problem]:
    """Several GPUs, and an engine that is started without saying over how many."""
    for unit in file.units:
        for choice in gpu_choices(file, unit):
            if choice.count == 1:
                continue
            for load in engine_loads(file, unit):
                if load.by.startswith(("vllm", "sglang")) and not _says_split(load):
                    yield Problem(
                        choice.at,
                        f"gpu={choice.text!r}, but {load.by} is not told to use {choice.count} GPUs.",
                        f"--tensor-parallel-size {choice.count}, or tensor_parallel_size={choice.count}.",
                    )


def _says_split(load: Load) -> bool:
    if load.is_declared:
        return True  # modalkit splits a model over all GPUs by itself
    keywords = {one.arg for one in load.call.keywords}
    if None in keywords or any(
        "parallel" in (word or "") or word == "tp_size" for word in keywords
    ):
        return True
    named = any(word in _SPLITS for word in load.flags)
    # A word that is not known may be the flag.
    return named or any("\0" in word or not word for word in load.flags)


@rule(
    "MK115",
    "fp8-without-units",
    "warning",
    why="The card has no fp8 units: at best the weights are unpacked for each use, at worst the engine refuses.",
)
def fp8_without_units(file: ModalFile) -> Iterator[Problem]:
    """An fp8 model or ``quantization="fp8"`` on a card before Ada and Hopper."""
    for unit in file.units:
        for load in engine_loads(file, unit):
            if not _is_fp8(file, load):
                continue
            for choice in gpu_choices(file, unit):
                if choice.gpu.fp8_tflops is None:
                    yield Problem(
                        choice.at,
                        f"{load.model} runs in fp8, and {choice.gpu.name} (compute capability "
                        f"{choice.gpu.compute_capability}) has no fp8 units.",
                        'gpu="L40S" or gpu="H100", or weights in AWQ, GPTQ or bf16.',
                    )


def _is_fp8(file: ModalFile, load: Load) -> bool:
    said = file.names.text(load.keyword("quantization"))
    return (
        said == "fp8" or load.flag("--quantization", "-q") == "fp8" or "fp8" in load.model.lower()
    )


@rule(
    "MK116",
    "bf16-without-units",
    "warning",
    why="vLLM and SGLang refuse bfloat16 on such a card; PyTorch computes it slowly in float32.",
)
def bf16_without_units(file: ModalFile) -> Iterator[Problem]:
    """A model in bfloat16 on a card before Ampere."""
    for unit in file.units:
        old = [one for one in gpu_choices(file, unit) if one.gpu.bf16_tflops is None]
        for load in engine_loads(file, unit) if old else ():
            if _is_bf16(file, load):
                yield Problem(
                    old[0].at,
                    f"{load.model} is loaded in bfloat16, which {old[0].gpu.name} (compute capability "
                    f"{old[0].gpu.compute_capability}) has no units for.",
                    'dtype float16, or a newer card: gpu="L4".',
                )


def _is_bf16(file: ModalFile, load: Load) -> bool:
    for name in ("dtype", "torch_dtype"):
        value = load.keyword(name)
        if value is None:
            continue
        if file.names.text(value) == "bfloat16" or _ends_with_bf16(file, value):
            return True
    return load.flag("--dtype") == "bfloat16"


def _ends_with_bf16(file: ModalFile, value: ast.expr) -> bool:
    return file.names.qualname(value) == "torch.bfloat16"
