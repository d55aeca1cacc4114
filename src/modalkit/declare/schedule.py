"""When Modal starts a function by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Strict, model_validator

from .._values import Value, between, did_you_mean
from ..crontab import FIELDS, MACROS, CronField, numbers_of
from ..errors import DeclarationError

if TYPE_CHECKING:
    import modal

__all__ = ["Cron", "Period", "Schedule"]

_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Cron(Value):
    """At fixed times of the clock, by a cron expression.

    Args:
        expression: Five fields: minute, hour, day of month, month, day of week (0 and 7 are
            Sunday). Each is ``*``, a number, a range ``1-5``, a step ``*/10`` or a list ``1,15``;
            months and weekdays may be written ``jan`` and ``mon``.
        timezone: IANA name. Default ``"UTC"``.

    Raises:
        DeclarationError: A field that is out of range, named; a date that never comes; an unknown
            time zone.

    Examples:
        >>> Cron("0 6 * * mon-fri", timezone="Europe/Berlin").timezone
        'Europe/Berlin'
        >>> Cron("0 0 30 2 *")
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: Cron('0 0 30 2 *') never fires: no month it names has a day 30. Write a day of month from 1 to 29.
    """

    kind: Literal["cron"] = "cron"
    expression: str
    timezone: str = "UTC"

    def __init__(
        self, expression: str, *, timezone: str = "UTC", kind: Literal["cron"] = "cron"
    ) -> None:
        super().__init__(kind=kind, expression=expression, timezone=timezone)

    @model_validator(mode="after")
    def _can_fire(self) -> Self:
        _check_expression(self.expression)
        _check_timezone(self.expression, self.timezone)
        return self

    def to_modal(self) -> modal.Cron:
        """Compile to Modal's ``schedule=`` argument."""
        import modal  # noqa: PLC0415 - declaring must not load modal

        return modal.Cron(self.expression, timezone=self.timezone)


class Period(Value):
    """At a fixed interval, counted from the deployment; the parts add up.

    Args:
        weeks: Whole weeks. Default 0.
        days: Whole days, each as long as the calendar makes it. Default 0.
        hours: Whole hours. Default 0.
        minutes: Whole minutes. Default 0.
        seconds: Seconds, fractions allowed. Default 0.

    Raises:
        DeclarationError: A negative part, or no time at all.

    Examples:
        >>> Period(hours=6).to_modal().proto_message.period.hours
        6
        >>> Period()
        Traceback (most recent call last):
            ...
        modalkit.errors.DeclarationError: Period() is no time at all. Write Period(hours=1).
    """

    kind: Literal["period"] = "period"
    weeks: Annotated[int, Strict(), between(0)] = 0
    days: Annotated[int, Strict(), between(0)] = 0
    hours: Annotated[int, Strict(), between(0)] = 0
    minutes: Annotated[int, Strict(), between(0)] = 0
    seconds: Annotated[float, Strict(), between(0)] = 0.0

    @model_validator(mode="after")
    def _passes(self) -> Self:
        if not (self.weeks or self.days or self.hours or self.minutes or self.seconds):
            msg = "Period() is no time at all. Write Period(hours=1)."
            raise DeclarationError(msg)
        return self

    def to_modal(self) -> modal.Period:
        """Compile to Modal's ``schedule=`` argument."""
        import modal  # noqa: PLC0415 - declaring must not load modal

        return modal.Period(
            weeks=self.weeks,
            days=self.days,
            hours=self.hours,
            minutes=self.minutes,
            seconds=self.seconds,
        )


Schedule = Cron | Period
"""Anything that says when: ``schedule=`` of a service."""


def _check_expression(expression: str) -> None:
    where = f"Cron({expression!r})"
    parts = expression.split()
    if expression.strip().lower() in MACROS:
        msg = f"{where} is a shorthand Modal does not know. Write Cron({MACROS[expression.strip().lower()]!r})."
        raise DeclarationError(msg)
    if len(parts) != len(FIELDS):
        seconds = " (Modal's cron has no seconds)" if len(parts) > len(FIELDS) else ""
        msg = (
            f"{where} has {len(parts)} fields{seconds}; it needs 5: minute, hour, day of month, "
            "month, day of week. Write Cron('0 6 * * *') for every day at 06:00."
        )
        raise DeclarationError(msg)
    values = [_values(where, text, field) for text, field in zip(parts, FIELDS, strict=True)]
    # With a day of week given, cron fires on either of the two, so some day always comes.
    if parts[4] == "*":
        _check_date(where, values[2], values[3])


def _values(where: str, text: str, field: CronField) -> set[int]:
    """Return the numbers one field of the expression stands for."""
    found: set[int] = set()
    for part in text.split(","):
        numbers = numbers_of(part, field)
        if not numbers:
            known = f" or {field.words[0]} to {field.words[-1]}" if field.words else ""
            msg = (
                f"{where}: {field.name} {part!r} is not possible. Write numbers from {field.least} "
                f"to {field.most}{known}, the smaller first in a range, steps of at least 1."
            )
            raise DeclarationError(msg)
        found |= numbers
    return found


def _check_date(where: str, days: set[int], months: set[int]) -> None:
    longest = max(_LONGEST_MONTHS[month - 1] for month in months)
    if min(days) > longest:
        msg = (
            f"{where} never fires: no month it names has a day {min(days)}. "
            f"Write a day of month from 1 to {longest}."
        )
        raise DeclarationError(msg)


def _check_timezone(expression: str, timezone: str) -> None:
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        known = available_timezones()
        if not known:
            return  # a container without the time zone database; Modal has checked it before
        hint = did_you_mean(timezone, known)
        msg = (
            f"Cron({expression!r}).timezone {timezone!r} is not an IANA time zone.{hint} "
            "Write one such as 'Europe/Berlin' or 'UTC'."
        )
        raise DeclarationError(msg) from None
