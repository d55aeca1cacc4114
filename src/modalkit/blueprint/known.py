"""A service and what is known of it; what a price rests on besides the file."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from .._values import Value
from ..plan import ServicePlan
from ..pricing.month import Throughput, Traffic
from ..service import ModelService
from ..sizing.demand import Demand
from ..sizing.model import ModelFacts

__all__ = ["Assumptions", "Known"]


class Assumptions(Value):
    """What a month's price rests on besides the file.

    Attributes:
        traffic: What each service is asked for; None gives no price of a month.
        measured: What one container was measured to do; None estimates it.
        request_s: Seconds of one request of a custom service.
        cold_start_s: From nothing to ready; None estimates it from the weights.
    """

    traffic: Traffic | None = None
    measured: Throughput | None = None
    request_s: float | None = Field(default=None, gt=0)
    cold_start_s: float | None = Field(default=None, ge=0)


@dataclass(frozen=True, slots=True)
class Known:
    """A service and what is known of its model.

    Attributes:
        service: The class, whose declarations say what its GPUs must bear.
        plan: Its plan.
        facts: The facts of its model, as its checkpoint is; None where they are not known.
        demand: What its engine asks of each GPU choice; None where that is not known.
        reason: Why either is not.
    """

    service: type[ModelService]
    plan: ServicePlan
    facts: ModelFacts | None
    demand: Demand | None = None
    reason: str = ""
