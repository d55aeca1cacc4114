"""Rules over the plan of a modalkit service: what its declarations, its lock and its model's facts say.

They run in a process of their own (`planning`), since the file is imported for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..findings import Severity
from ..models import GIB
from ..rule import Rule, register_rule
from ..thresholds import DEAR_USD

if TYPE_CHECKING:
    from ...blueprint.known import Known
    from ...blueprint.values import Memory, ServiceBlueprint
    from ...pricing.total import Budget

__all__ = ["NOT_PLANNED", "PLAN_RULES", "PlanProblem", "PlanRule", "Planned"]

_FAR_TOO_LARGE = 0.2  # of a card: weights, cache and the engine together


@dataclass(frozen=True, slots=True)
class Planned:
    """One service: its plan, its blueprint, and what it may cost.

    Attributes:
        known: The class, its plan, and the facts of its model.
        blueprint: What `modalkit plan` shows of it.
        budget: What it may cost; None for any price.
    """

    known: Known
    blueprint: ServiceBlueprint
    budget: Budget | None


@dataclass(frozen=True, slots=True)
class PlanProblem:
    """What a rule says of a service.

    Attributes:
        field: The declaration to point at, such as ``"gpu"``.
        message: What is wrong, with the value.
        instead: What to write instead.
    """

    field: str
    message: str
    instead: str


PlanRule = Callable[[Planned], Iterable[PlanProblem]]
PLAN_RULES: dict[str, PlanRule] = {}
"""The rules by code."""


def _plan_rule(
    code: str, name: str, severity: Severity, why: str
) -> Callable[[PlanRule], PlanRule]:
    def register(judge: PlanRule) -> PlanRule:
        summary = " ".join((judge.__doc__ or "").split()).replace("``", "`")
        register_rule(Rule(code, name, severity, why, reads="plan", summary=summary))
        PLAN_RULES[code] = judge
        return judge

    return register


def _choices(planned: Planned) -> Iterator[tuple[int, Memory]]:
    yield from enumerate(planned.blueprint.memory)


@_plan_rule(
    "MK151",
    "does-not-fit",
    Severity.ERROR,
    "The engine runs out of memory minutes after the container started, or refuses to start.",
)
def _does_not_fit(planned: Planned) -> Iterator[PlanProblem]:
    """A model that the first GPU choice does not hold at its context and concurrency, or cannot split or compute."""
    for index, memory in _choices(planned):
        if index == 0 and memory.problem:
            yield _unfit(memory)


@_plan_rule(
    "MK152",
    "fallback-does-not-fit",
    Severity.ERROR,
    "It works until the day the first choice is not there.",
)
def _fallback_does_not_fit(planned: Planned) -> Iterator[PlanProblem]:
    """An entry of the fallback list that does not hold the model."""
    for index, memory in _choices(planned):
        if index > 0 and memory.problem:
            yield _unfit(memory)


def _unfit(memory: Memory) -> PlanProblem:
    return PlanProblem(
        "gpu",
        f"On {memory.gpu}, for {memory.concurrency} requests of {memory.context:,} tokens: {memory.problem}.",
        _cure(memory),
    )


def _cure(memory: Memory) -> str:
    """What to write instead, the cheapest way first."""
    ways = []
    if memory.memory_fraction is not None:
        ways.append(f"memory_fraction={memory.memory_fraction:g} in the engine")
    if 0 < memory.largest_context < memory.context:
        ways += ["a larger GPU"] if memory.free_bytes < 0 else []
        ways.append(f"context_length={memory.largest_context}")
    else:
        ways += ["a larger GPU", "more of them", "a shorter context"]
        ways.append("GPUProfile.fit() and `modalkit lock`")
    *others, last = ways
    text = f"{', '.join(others)}, or {last}." if others else f"{last}."
    return f"A{text[1:]}" if text.startswith("a ") else text


@_plan_rule(
    "MK153",
    "plan-far-too-large",
    Severity.NOTE,
    "A card is paid for by the second, used or not.",
)
def _far_too_large(planned: Planned) -> Iterator[PlanProblem]:
    """A first GPU choice of which the model, its cache and the engine take less than a fifth."""
    for memory in planned.blueprint.memory[:1]:
        used = (memory.total_bytes - memory.free_bytes) / memory.total_bytes
        price = planned.blueprint.price.container.gpu
        if not memory.problem and used < _FAR_TOO_LARGE and price > DEAR_USD:
            yield PlanProblem(
                "gpu",
                f"{memory.gpu} at ${price:.2f} an hour is used to {used:.0%}.",
                "GPUProfile.fit(), which takes the cheapest that fits.",
            )


@_plan_rule(
    "MK451",
    "nothing-locked",
    Severity.NOTE,
    "The model's repository can change between two deploys, and nobody verifies what was fetched.",
)
def _nothing_locked(planned: Planned) -> Iterator[PlanProblem]:
    """A model of the hub that is neither locked nor has a ``revision``."""
    from ...service import lock_command  # noqa: PLC0415 - loads pydantic

    plan = planned.known.plan
    if plan.model is not None and plan.model_folder is None and plan.revision is None:
        yield PlanProblem(
            "model",
            f"{plan.model} is served at whatever its newest commit is.",
            f"{lock_command(planned.known.service)}.",
        )


@_plan_rule(
    "MK452",
    "service-without-cache",
    Severity.WARNING,
    "Every cold start downloads all weights again while the GPU waits.",
)
def _without_cache(planned: Planned) -> Iterator[PlanProblem]:
    """A model of the hub on a GPU, without a WeightCache."""
    plan = planned.known.plan
    from_hub = plan.model is not None and plan.model_folder is None and plan.engine is not None
    if from_hub and plan.gpu is not None and plan.weights is None:
        yield PlanProblem(
            "model", f"{plan.model} has no cache.", f'weights = WeightCache("{plan.name.lower()}").'
        )


@_plan_rule(
    "MK453",
    "service-startup-too-short",
    Severity.WARNING,
    "Modal ends a container that is not ready in time and starts another, for ever.",
)
def _startup_too_short(planned: Planned) -> Iterator[PlanProblem]:
    """A start-up timeout that the weights do not fit into."""
    from ...blueprint.speeds import loading_s  # noqa: PLC0415 - only here, and it loads the plan

    facts, plan = planned.known.facts, planned.known.plan
    if facts is None or plan.engine is None:
        return
    needed = loading_s(facts)
    if needed > plan.scaling.startup_timeout:
        yield PlanProblem(
            "scaling",
            f"{facts.weight_bytes / GIB:.0f} GiB of weights take about {needed:.0f} s at best, and "
            f"startup_timeout is {plan.scaling.startup_timeout} s.",
            f"Scaling(startup_timeout={int(needed * 3)}).",
        )


@_plan_rule(
    "MK551",
    "over-budget",
    Severity.ERROR,
    "Containers start by themselves; the limit is the only thing that stops them.",
)
def _over_budget(planned: Planned) -> Iterator[PlanProblem]:
    """A service that may cost more than the budget, or without a limit."""
    from ...pricing.total import total  # noqa: PLC0415 - only here, and it loads the prices

    if planned.budget is not None:
        problem = planned.budget.problem(total([planned.blueprint.price]), has_traffic=False)
        if problem:
            yield PlanProblem("scaling", problem, "Scaling(max_containers=1), or a cheaper GPU.")


@_plan_rule(
    "MK552",
    "service-without-limit",
    Severity.NOTE,
    "Every burst of requests, wanted or not, starts as many GPUs as the workspace may have.",
)
def _without_limit(planned: Planned) -> Iterator[PlanProblem]:
    """An endpoint on a GPU without ``max_containers``."""
    plan = planned.known.plan
    price = planned.blueprint.price.container.gpu
    if plan.endpoint is not None and price and plan.scaling.max_containers is None:
        yield PlanProblem(
            "scaling",
            f"{plan.name} answers HTTP on a GPU of ${price:.2f} an hour, and has no max_containers.",
            "Scaling(max_containers=4), or what the budget allows.",
        )


NOT_PLANNED: Mapping[str, Rule] = {
    one.code: register_rule(one)
    for one in (
        Rule(
            "MK920",
            "plan-refused",
            Severity.ERROR,
            "The file cannot be deployed as it is.",
            reads="plan",
            summary="A declaration that modalkit refuses when the file is imported.",
        ),
        Rule(
            "MK921",
            "not-planned",
            Severity.NOTE,
            "The rules over plans need it; everything else has been checked.",
            reads="plan",
            summary="A file with services that could not be imported on this machine.",
        ),
    )
}
"""What is said of a file without a plan."""
