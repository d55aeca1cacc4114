"""How fast one container of a service answers: stated, measured, or a roofline's estimate. Pure."""

from __future__ import annotations

from ..declare.gpu import GPUProfile
from ..pricing.month import Throughput, Traffic
from ..sizing.demand import Demand
from ..sizing.model import ModelFacts
from .known import Assumptions, Known
from .memory import examined

__all__ = ["loading_s", "throughput"]

# Where nobody says how long a start takes: a container and an engine, then its weights. Not measured.
_START_S = 45.0
_LOAD_BYTES_PER_S = 1e9
_ESTIMATE = "a roofline estimate, not measured"

Ends = tuple[Throughput, Throughput]


def throughput(known: Known, assumed: Assumptions) -> tuple[Ends | None, str]:
    """Return the slow and fast end of what a container does, or why nobody knows."""
    cold_s = loading_s(known.facts) if assumed.cold_start_s is None else assumed.cold_start_s
    if assumed.request_s is not None:
        stated = Throughput(
            slots=known.plan.concurrency, request_s=assumed.request_s, cold_start_s=cold_s
        )
        return (stated, stated), ""
    if assumed.measured is not None:
        return (assumed.measured, assumed.measured), ""
    if known.plan.kind == "custom":
        return None, "a custom model's speed is not known; say --request-seconds"
    if assumed.traffic is None or known.demand is None or known.plan.gpu is None:
        return None, known.reason or "the speed of this engine is not known; say --request-seconds"
    return _estimate(known.plan.gpu, known.plan.concurrency, known.demand, assumed.traffic, cold_s)


def _estimate(
    choice: GPUProfile, inputs: int, demand: Demand, traffic: Traffic, cold_start_s: float
) -> tuple[Ends | None, str]:
    tokens = max(1, traffic.tokens_in + traffic.tokens_out)
    pick = examined(choice, demand.bearing(tokens, 1))
    if pick is None:
        return None, f"nothing is known of the GPU {choice.gpu}; say --request-seconds"
    slots = min(inputs, demand.bearing(tokens, 1).largest_concurrency(pick), demand.most_at_once)
    if not slots:
        return None, f"not one request of {tokens:,} tokens fits {choice}"
    full = examined(choice, demand.bearing(tokens, slots))
    prompt = examined(choice, demand.bearing(max(1, traffic.tokens_in), 1))
    assert full is not None  # noqa: S101 - the catalogue knows the type
    assert prompt is not None  # noqa: S101
    first = prompt.speed.first_token_s
    slow, fast = (
        Throughput(
            slots=slots,
            tokens_per_s=full.speed.tokens_per_s[end],
            prompt_tokens_per_s=traffic.tokens_in / first[1 - end] if first else 0.0,
            cold_start_s=cold_start_s,
            source=_ESTIMATE,
        )
        for end in (0, 1)
    )
    return (slow, fast), ""


def loading_s(facts: ModelFacts | None) -> float:
    """Return how long a cold start is taken to be: 45 s and a second for each GB of weights."""
    return _START_S + (facts.weight_bytes / _LOAD_BYTES_PER_S if facts else 0.0)
