"""Several quotes together, and whether they keep to a budget."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, Self

from .._values import Value
from ..errors import DeclarationError
from .quote import Quote

__all__ = ["Budget", "Total", "total", "usd", "usd_range"]

_BUDGET = re.compile(r"\$?(?P<usd>\d+(\.\d+)?)\s*/\s*(?P<period>hour|month)")


class Total(Value):
    """What several services cost together, in USD.

    Attributes:
        least_hour: At rest.
        most_hour: With every container at work; None if one service has no ``max_containers``.
        month: Fast and slow end of a month under the traffic, without ``unpriced``; None if no
            service has one.
        most_month: A month with every container at work; None like ``most_hour``.
        unbounded: Services without ``max_containers``.
        unpriced: Services without a month under the traffic.
    """

    least_hour: float
    most_hour: float | None
    month: tuple[float, float] | None
    most_month: float | None
    unbounded: tuple[str, ...]
    unpriced: tuple[str, ...]


class Budget(Value):
    """The most that something may cost.

    Args:
        usd: The amount in USD.
        period: ``"hour"``: with every container at work. ``"month"``: under the declared traffic, or
            with every container at work where none is declared.

    Examples:
        >>> Budget.parse("500/month").usd
        500.0
    """

    usd: float
    period: Literal["hour", "month"]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"500/month"`` or ``"3/hour"``.

        Raises:
            DeclarationError: It is neither.
        """
        found = _BUDGET.fullmatch(text.strip())
        if found is None:
            msg = f"The budget {text!r} must be an amount of USD over a period. Write 500/month or 3/hour."
            raise DeclarationError(msg)
        return cls(usd=float(found["usd"]), period="hour" if found["period"] == "hour" else "month")

    def __str__(self) -> str:
        return f"${self.usd:g} {'an' if self.period == 'hour' else 'a'} {self.period}"

    def problem(self, together: Total, *, has_traffic: bool) -> str:
        """Say in a sentence why the budget is not kept; empty if it is.

        Args:
            together: What is spent.
            has_traffic: Whether a traffic was declared, so that a month means that traffic.
        """
        said = str(self)
        if self.period == "month" and has_traffic:
            if together.unpriced or together.month is None:
                return f"No month of {', '.join(together.unpriced)} can be priced, so {said} cannot be held."
            spent, what = together.month[1], "a month under this traffic"
        else:
            most = together.most_hour if self.period == "hour" else together.most_month
            if most is None:
                return (
                    f"Nothing bounds {', '.join(together.unbounded)}: without Scaling(max_containers=...) "
                    f"{said} cannot be held."
                )
            spent, what = most, f"{'an' if self.period == 'hour' else 'a'} {self.period} at most"
        return "" if spent <= self.usd else f"{usd(spent)} for {what} is over the budget of {said}."


def total(quotes: Sequence[Quote]) -> Total:
    """Add quotes up."""
    unbounded = tuple(one.service for one in quotes if one.most_hour is None)
    slow = [one.month.total for one in quotes if one.month]
    fast = [one.month_fast.total for one in quotes if one.month_fast]
    return Total(
        least_hour=sum(one.least_hour for one in quotes),
        most_hour=None if unbounded else sum(one.most_hour or 0.0 for one in quotes),
        month=(sum(fast), sum(slow)) if slow else None,
        most_month=None if unbounded else sum(one.most_month or 0.0 for one in quotes),
        unbounded=unbounded,
        unpriced=tuple(one.service for one in quotes if one.month is None),
    )


def usd(amount: float) -> str:
    """Write an amount with the digits that matter: ``$0.0069``, ``$1.96``, ``$1,430``.

    Examples:
        >>> usd(0.00689), usd(1.958), usd(1429.6), usd(0)
        ('$0.0069', '$1.96', '$1,430', '$0')
    """
    if amount == 0:
        return "$0"
    if abs(amount) >= 100:  # noqa: PLR2004 - cents no longer matter
        return f"${amount:,.0f}"
    if abs(amount) >= 0.1:  # noqa: PLR2004 - cents are enough
        return f"${amount:,.2f}"
    return f"${float(f'{amount:.2g}'):.6f}".rstrip("0")


def usd_range(least: float, most: float) -> str:
    """Write an estimate's two ends, or the upper one alone where they are within 2 %.

    Examples:
        >>> usd_range(1.2, 3.4), usd_range(591, 594)
        ('$1.20 to $3.40', '$594')
    """
    if most <= least * 1.02:
        return usd(most)
    return f"{usd(least)} to {usd(most)}"
