"""MK506: what the containers of plain Modal functions cost for certain, against the budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...declare.catalogue import catalogue_date
from ..declared import ModalFile, Option, Unit
from ..rule import Problem, rule
from .cost import HOURS_PER_MONTH, gpu_usd_per_hour

if TYPE_CHECKING:
    from ...pricing.rates import Rates
    from ...pricing.total import Budget

__all__ = ["over_budget"]

_LEAST_CORES = 0.125  # what Modal reserves where nothing is asked for
_LEAST_GIB = 0.125


@dataclass(frozen=True, slots=True)
class _Kept:
    """Containers that are paid for whether they are asked for anything or not."""

    unit: Unit
    option: Option
    count: float
    usd_per_hour: float


@rule(
    "MK506",
    "kept-over-budget",
    "error",
    why="These containers are there around the clock, whether anyone asks or not.",
)
def over_budget(file: ModalFile) -> Iterator[Problem]:
    """``min_containers`` that cost more than the ``budget`` of the settings, all functions of a file together."""
    if file.budget is None:
        return
    from ...pricing.rates import Rates  # noqa: PLC0415 - loads pydantic; asked for only with a budget
    from ...pricing.total import Budget, usd  # noqa: PLC0415

    budget, rates = Budget.parse(file.budget), Rates.offline()
    kept = [one for unit in file.units if (one := _kept(file, unit, rates)) is not None]
    spent = sum(one.count * one.usd_per_hour for one in kept) * _hours(budget)
    if spent <= budget.usd:
        return
    dearest = max(kept, key=lambda one: one.count * one.usd_per_hour)
    others = f", {len(kept) - 1} more among them," if len(kept) > 1 else ""
    yield Problem(
        dearest.option.at,
        f"{dearest.count:g} kept container{'s' if dearest.count != 1 else ''} of {dearest.unit.name}{others} cost "
        f"{usd(spent)} {_said(budget)}, over the budget of {file.budget} (prices of {catalogue_date()}).",
        "Fewer min_containers, a cheaper GPU, or a larger budget.",
    )


def _hours(budget: Budget) -> int:
    return 1 if budget.period == "hour" else HOURS_PER_MONTH


def _said(budget: Budget) -> str:
    return "an hour" if budget.period == "hour" else "a month"


def _kept(file: ModalFile, unit: Unit, rates: Rates) -> _Kept | None:
    option = unit.options.given.get("min_containers")
    count = file.names.number(option.value) if option is not None else None
    if option is None or not count or count < 1:
        return None
    cores = file.names.number(unit.options.value("cpu")) or _LEAST_CORES
    memory = file.names.number(unit.options.value("memory"))
    gib = memory / 1024 if memory else _LEAST_GIB
    price = gpu_usd_per_hour(file, unit) + cores * rates.core_hour + gib * rates.gib_hour
    return _Kept(unit, option, count, price)
