"""How fast a model could answer: the roofline of memory bandwidth and arithmetic, with its range.

Decoding reads every active weight and the cache once per step:
``tokens/s = efficiency * bandwidth * tp * batch / (active bytes + batch * cache bytes)``. The efficiency
was measured on A100-80GB at batch 1 (gpt-fast): 0.68 in bf16 on one GPU, 0.50 to 0.62 in int8, 0.55 to
0.61 on two, 0.40 to 0.64 on four, 0.25 to 0.50 on eight; it falls with the split on small models. Nothing
here was measured on other cards. The time to the first token is ``2 * active * prompt / (MFU * FLOP/s)``;
no measured table of it was found, so it is marked as unchecked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..declare.gpu import GPU
from .memory import Load, Split, cache_per_gpu
from .model import ModelFacts

__all__ = ["Speed", "speed"]

# Low and high efficiency by tensor-parallel size.
_EFFICIENCY = {1: (0.50, 0.68), 2: (0.50, 0.61), 4: (0.40, 0.64), 8: (0.25, 0.50)}
_MFU = (0.30, 0.60)


@dataclass(frozen=True, slots=True)
class Speed:
    """An estimate with its range; nothing of it was measured on the card in question.

    Attributes:
        tokens_per_s: Answered tokens over all requests, lowest and highest.
        first_token_s: Time to the first token of a prompt of the load's length, shortest and longest;
            None where the card's arithmetic is not in the catalogue.
        tokens_checked: Whether a measurement stands behind ``tokens_per_s``: A100-80GB at one request
            only.
        first_token_checked: The same of ``first_token_s``; no measured table of it was found.
    """

    tokens_per_s: tuple[float, float]
    first_token_s: tuple[float, float] | None
    tokens_checked: bool
    first_token_checked: bool = False


def speed(model: ModelFacts, load: Load, split: Split, gpu: GPU) -> Speed:
    """Estimate decode throughput and the time to the first token."""
    size = min((known for known in _EFFICIENCY if known >= split.tensor), default=8)
    low, high = _EFFICIENCY[size]
    share = model.active_parameters / max(1, model.total_parameters)
    sequences = math.ceil(load.concurrency / split.data)  # of one copy
    touched = min(1.0, share * (sequences if model.experts else 1))
    active = model.loaded_bytes * (max(share, touched) if model.experts else 1.0)
    cache = cache_per_gpu(model, load, split) * split.tensor * split.pipeline
    bandwidth = gpu.bandwidth_gb_per_s * 1e9 * split.tensor
    steps = bandwidth / (active + cache)
    tokens = (low * steps * load.concurrency, high * steps * load.concurrency)
    checked = gpu.name == "A100-80GB" and load.concurrency == 1
    return Speed(tokens, _first_token(model, load, split, gpu), checked)


def _first_token(
    model: ModelFacts, load: Load, split: Split, gpu: GPU
) -> tuple[float, float] | None:
    eight_bit = model.quantization is not None and "fp8" in model.quantization
    tflops = (gpu.fp8_tflops if eight_bit else None) or gpu.bf16_tflops or gpu.fp16_tflops
    if tflops is None:
        return None
    work = 2.0 * model.active_parameters * load.context
    fastest, slowest = (work / (mfu * tflops * 1e12 * split.tensor) for mfu in reversed(_MFU))
    return fastest, slowest
