"""The columns of a table of prices, for a terminal and for a page. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..pricing import ContainerPrice, Quote
from ..pricing.total import usd, usd_range
from .report import PlanReport
from .values import FunctionBlueprint

__all__ = ["PriceColumn", "cluster_words", "price_columns"]


@dataclass(frozen=True, slots=True)
class PriceColumn:
    """One column.

    Attributes:
        heading: What stands above it.
        of: A service's cell.
        of_function: A plain function's cell; how many of its containers run nobody knows.
    """

    heading: str
    of: Callable[[Quote], str]
    of_function: Callable[[FunctionBlueprint], str] = lambda _: "?"


def price_columns(report: PlanReport) -> list[PriceColumn]:
    """Return the columns that have something to say of a report's services and functions."""
    quotes = [service.price for service in report.plan.services]
    containers = [one.container for one in quotes]
    containers += [one.container for app in report.plan.apps for one in app.functions]
    columns = [
        PriceColumn("a container/h", lambda one: _container(one.container), _function),
        PriceColumn("least/h", lambda one: usd(one.least_hour)),
        PriceColumn("most/h", lambda one: _bound(one.most_hour)),
    ]
    if any(one.region != 1 for one in containers):
        columns.append(
            PriceColumn(
                "region", lambda one: _region(one.container), lambda one: _region(one.container)
            )
        )
    if any(one.storage_month for one in quotes):
        columns.append(PriceColumn("Volumes/month", lambda one: usd(one.storage_month)))
    if report.traffic is not None:
        columns.append(PriceColumn("a month", _month))
        columns.append(PriceColumn("1M tokens", _million))
    elif any(one.million_answer_tokens for one in quotes):
        columns.append(PriceColumn("1M answer tokens", _million_answers))
    return columns


def _container(price: ContainerPrice) -> str:
    first, dearest = usd(price.total), usd(price.dearest)
    return first if first == dearest else f"{first} to {dearest}"


def cluster_words(function: FunctionBlueprint) -> str:
    """Say what a cluster costs; empty for a function that is none."""
    if (function.cluster or 1) == 1:
        return ""
    return f"{function.cluster} containers together, {usd(function.usd_per_hour)} an hour"


def _function(function: FunctionBlueprint) -> str:
    each = _container(function.container)
    return f"{function.cluster} x {each}" if (function.cluster or 1) > 1 else each


def _bound(amount: float | None) -> str:
    return "no limit" if amount is None else usd(amount)


def _region(price: ContainerPrice) -> str:
    return f"x{price.region:g}"


def _month(price: Quote) -> str:
    if price.month is None or price.month_fast is None:
        return "?"
    return usd_range(price.month_fast.total, price.month.total)


def _million(price: Quote) -> str:
    if price.month is None or price.month_fast is None:
        return "?"
    fast, slow = price.month_fast.usd_per_million_tokens, price.month.usd_per_million_tokens
    return "-" if fast is None or slow is None else usd_range(fast, slow)


def _million_answers(price: Quote) -> str:
    found = price.million_answer_tokens
    return usd_range(*found) if found else "?"
