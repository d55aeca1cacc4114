"""When Modal starts a function by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Strict, model_validator

from ._values import Value, between, did_you_mean
from .errors import DeclarationError

if TYPE_CHECKING:
    import modal

__all__ = ["Cron", "Period", "Schedule"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class _Field(NamedTuple):
    """One of the five fields: its name, its range, and words for the numbers from least on."""

    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _WEEKDAYS),
)
_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


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
    if expression.strip().lower() in _MACROS:
        msg = f"{where} is a shorthand Modal does not know. Write Cron({_MACROS[expression.strip().lower()]!r})."
        raise DeclarationError(msg)
    if len(parts) != len(_FIELDS):
        seconds = " (Modal's cron has no seconds)" if len(parts) > len(_FIELDS) else ""
        msg = (
            f"{where} has {len(parts)} fields{seconds}; it needs 5: minute, hour, day of month, "
            "month, day of week. Write Cron('0 6 * * *') for every day at 06:00."
        )
        raise DeclarationError(msg)
    values = [_values(where, text, field) for text, field in zip(parts, _FIELDS, strict=True)]
    # With a day of week given, cron fires on either of the two, so some day always comes.
    if parts[4] == "*":
        _check_date(where, values[2], values[3])


def _values(where: str, text: str, field: _Field) -> set[int]:
    """Return the numbers one field of the expression stands for."""
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        low, high = _span(span, field, open_ended=bool(slash))
        by = _whole(step) if slash else 1
        if not (field.least <= low <= high <= field.most and by >= 1):
            known = f" or {field.words[0]} to {field.words[-1]}" if field.words else ""
            msg = (
                f"{where}: {field.name} {part!r} is not possible. Write numbers from {field.least} "
                f"to {field.most}{known}, the smaller first in a range, steps of at least 1."
            )
            raise DeclarationError(msg)
        found.update(range(low, high + 1, by))
    return found


def _span(text: str, field: _Field, *, open_ended: bool) -> tuple[int, int]:
    if text == "*":
        return field.least, field.most
    first, dash, last = text.partition("-")
    low = _number(first, field)
    if dash:
        return low, _number(last, field)
    return low, field.most if open_ended else low


def _number(text: str, field: _Field) -> int:
    if text.lower() in field.words:
        return field.least + field.words.index(text.lower())
    return _whole(text)


def _whole(text: str) -> int:
    """Return the number the digits mean; -1, which nothing allows, for anything else."""
    return int(text) if text.isascii() and text.isdecimal() else -1


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
