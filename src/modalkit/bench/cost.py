"""Dollars for a million tokens: what the containers cost while they are loaded, over what they do."""

from __future__ import annotations

from collections.abc import Iterable

from ..declare.gpu import GPUProfile
from ..declare.resources import Resources
from ..plan import ServicePlan
from ..pricing import container_price
from ..pricing.month import Throughput
from ..pricing.rates import Rates
from .probing import ColdReport
from .report import Price, StageReport

__all__ = ["best_container", "price_of_gpu", "price_of_plan", "price_stated", "priced"]

_HOUR_S = 3600


def price_of_gpu(gpu: str, containers: int) -> Price:
    """Price containers that have these GPUs and Modal's least CPU and memory.

    Raises:
        DeclarationError: There is no such GPU.
    """
    return _price(GPUProfile(gpu), Resources(), containers, gpu)


def price_of_plan(plan: ServicePlan, containers: int) -> Price:
    """Price containers of a service as it is declared."""
    of = f"{plan.name} on {plan.gpu.gpu if plan.gpu else 'CPU'}"
    return _price(plan.gpu, plan.resources, containers, of)


def price_stated(usd_per_hour: float, containers: int) -> Price:
    """Return a price that the user knows, of one container."""
    return Price(
        usd_per_hour=usd_per_hour * containers,
        containers=containers,
        of="a container",
        source="stated",
    )


def _price(gpu: GPUProfile | None, resources: Resources, containers: int, of: str) -> Price:
    rates = Rates.offline()
    hour = container_price(gpu, resources, rates).total
    return Price(
        usd_per_hour=round(hour * containers, 6),
        containers=containers,
        of=of,
        source=f"{rates.source}, {rates.read_on}",
    )


def priced(stage: StageReport, price: Price | None) -> StageReport:
    """Return a load with what its tokens and requests cost."""
    if price is None:
        return stage
    second = price.usd_per_hour / _HOUR_S
    answers = stage.tokens_per_s.value if stage.tokens_per_s else 0.0
    every = answers + (stage.prompt_tokens_per_s or 0.0)
    requests = stage.requests_per_s.value
    return stage.model_copy(
        update={
            "usd_per_million_tokens": _per(second, every, 1e6),
            "usd_per_million_answer_tokens": _per(second, answers, 1e6),
            "usd_per_thousand_requests": _per(second, requests, 1e3),
        }
    )


def _per(usd_per_s: float, per_s: float, many: float) -> float | None:
    return float(f"{usd_per_s / per_s * many:.6g}") if per_s > 0 else None


def best_container(
    stages: Iterable[StageReport], containers: int, cold: ColdReport | None
) -> Throughput | None:
    """Return what one container does in the load in which it did most; None if nothing was answered.

    Reading prompts is in the measured time, so that ``tokens_per_s`` counts it already.
    """
    useful = [one for one in stages if one.requests_per_s.value and one.error_rate < 0.5]  # noqa: PLR2004 - half
    if not useful:
        return None
    best = max(useful, key=_done)
    slots = max(1, round((best.concurrency or best.in_flight) / containers))
    found = Throughput(slots=slots, source="measured")
    if best.tokens_per_s is not None:
        speed: dict[str, float] = {"tokens_per_s": round(best.tokens_per_s.value / containers, 3)}
    else:
        speed = {"request_s": round(slots * containers / best.requests_per_s.value, 6)}
    if cold is not None and cold.was_cold:
        speed["cold_start_s"] = cold.start_s
    return found.model_copy(update=speed)


def _done(stage: StageReport) -> float:
    return stage.tokens_per_s.value if stage.tokens_per_s else stage.requests_per_s.value
