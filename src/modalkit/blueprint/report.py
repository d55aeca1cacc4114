"""What ``modalkit plan --json`` prints, and `docs/plan.schema.json` describes."""

from __future__ import annotations

from .._values import Value
from ..pricing.month import Traffic
from ..pricing.total import Total
from .changes import Comparison
from .values import Blueprint

__all__ = ["PlanReport"]


class PlanReport(Value):
    """A blueprint with what was asked about it.

    Attributes:
        plan: Everything the file will create.
        traffic: What each service is asked for, where it was said.
        total: The services' prices together.
        budget_problem: Why the budget is not kept; empty if it is, or if there is none.
        comparison: What differs from an earlier plan or lock, where one was named.
    """

    plan: Blueprint
    traffic: Traffic | None = None
    total: Total
    budget_problem: str = ""
    comparison: Comparison | None = None
