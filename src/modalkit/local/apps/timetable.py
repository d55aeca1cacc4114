"""When a schedule fires: cron expressions with their time zone, and periods.

A cron job at a fixed hour runs exactly once a day when clocks change: a time that is skipped in
spring runs the moment the clocks have moved, one that comes twice in autumn runs the first time.
One whose hour is ``*`` follows real time: it is never skipped and never bunched.
"""

from __future__ import annotations

import calendar
from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from ...crontab import FIELDS, MACROS, CronField, numbers_of
from ..protocol import api

__all__ = ["CronTable", "PeriodTable", "Timetable", "timetable_of"]

_SUNDAY = 7
_MONTHS_A_YEAR = 12
# 29 February comes back after eight years at most (2096 to 2104).
_SEARCHED_DAYS = 366 * 8 + 2
_SHORTEST_PERIOD_S = 1.0


class Timetable(Protocol):
    """The moments at which a schedule fires."""

    def after(self, moment: datetime) -> datetime:
        """Return the first firing later than an aware ``moment``, in UTC."""


class CronTable:
    """A cron expression read in a time zone.

    Args:
        expression: Five fields (minute, hour, day of month, month, day of week) of numbers, names,
            lists, ranges and steps, or a word such as ``@daily``.
        timezone: An IANA name; empty for UTC.

    Raises:
        ValueError: A field that cannot be read, named; an unknown zone; a date that never comes.
    """

    def __init__(self, expression: str, timezone: str = "") -> None:
        self._zone = _zone(timezone)
        texts = MACROS.get(expression.strip().lower(), expression).lower().split()
        if len(texts) != len(FIELDS):
            names = ", ".join(field.name for field in FIELDS)
            msg = (
                f"The cron expression {expression!r} has {len(texts)} fields; write five: {names}."
            )
            raise ValueError(msg)
        minutes, hours, days, self._months, weekdays = (
            _numbers(text, field, expression) for text, field in zip(texts, FIELDS, strict=True)
        )
        self._days = days
        self._weekdays = {number % _SUNDAY for number in weekdays}
        self._either_day = not (texts[2].startswith("*") or texts[4].startswith("*"))
        self._real_time = texts[1].startswith("*")
        self._times = [time(hour, minute) for hour in sorted(hours) for minute in sorted(minutes)]
        self._instants = lru_cache(maxsize=4)(self._instants_of)
        try:
            self.after(datetime.now(UTC))
        except LookupError:
            msg = f"The cron expression {expression!r} never fires: its date does not exist."
            raise ValueError(msg) from None

    def after(self, moment: datetime) -> datetime:
        """Return the first firing later than ``moment``, in UTC."""
        first = moment.astimezone(self._zone).date() - timedelta(days=1)
        for ahead in range(_SEARCHED_DAYS):
            day = first + timedelta(days=ahead)
            if not self._fires_on(day):
                continue
            instants = self._instants(day)
            place = bisect_right(instants, moment)
            if place < len(instants):
                return instants[place]
        msg = f"nothing in the {_SEARCHED_DAYS} days after {moment}"
        raise LookupError(msg)

    def _fires_on(self, day: date) -> bool:
        by_month = day.day in self._days
        by_week = day.isoweekday() % _SUNDAY in self._weekdays
        fits = (by_month or by_week) if self._either_day else (by_month and by_week)
        return day.month in self._months and fits

    def _instants_of(self, day: date) -> list[datetime]:
        """Return when the day's firings are, in order."""
        found: set[datetime] = set()
        for at in self._times:
            wall = datetime.combine(day, at)
            first, second = (_instant(wall, self._zone, fold) for fold in (0, 1))
            if second is None or first is None:  # the clocks jump over it
                if not self._real_time:
                    found.add(_end_of_gap(wall, self._zone))
            else:
                found |= {first, second} if self._real_time else {first}
        return sorted(found)


def _instant(wall: datetime, zone: tzinfo, fold: int) -> datetime | None:
    """Return the moment at which clocks show ``wall``, or None if they never do."""
    instant = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    shown = instant.astimezone(zone).replace(tzinfo=None)
    return instant if shown == wall else None


def _end_of_gap(wall: datetime, zone: tzinfo) -> datetime:
    """Return the moment at which clocks jump over ``wall``."""
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    after = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        msg = f"There is no time zone {name!r}. Write an IANA name such as 'Europe/Berlin'."
        raise ValueError(msg) from None


def _numbers(text: str, field: CronField, expression: str) -> set[int]:
    """Read one field of a cron expression."""
    found: set[int] = set()
    for part in text.split(","):
        numbers = numbers_of(part, field)
        if not numbers:
            msg = (
                f"The {field.name} field {text!r} of the cron expression {expression!r} cannot be "
                f"read: write *, a number from {field.least} to {field.most}, a range such as "
                f"{field.least}-{field.most}, a step such as */2, or a list with commas."
            )
            raise ValueError(msg)
        found |= numbers
    return found


class PeriodTable:
    """A fixed time, again and again, counted from when the app was deployed.

    Args:
        period: As the client sent it; its parts add up.
        start: When counting began, in UTC.

    Raises:
        ValueError: It is shorter than a second.
    """

    def __init__(self, period: api.Schedule.Period, start: datetime) -> None:
        self._months = period.years * _MONTHS_A_YEAR + period.months
        self._rest = timedelta(
            weeks=period.weeks,
            days=period.days,
            hours=period.hours,
            minutes=period.minutes,
            seconds=period.seconds,
        )
        self._start = start
        if (self._at(1) - start).total_seconds() < _SHORTEST_PERIOD_S:
            msg = "A Period must be at least a second long: write for example Period(minutes=5)."
            raise ValueError(msg)

    def after(self, moment: datetime) -> datetime:
        """Return the first firing later than ``moment``, in UTC."""
        # A month has 31 days at most, so this many firings are certainly over.
        longest = self._rest + timedelta(days=31 * self._months)
        count = max(1, int((moment - self._start) / longest))
        while self._at(count) <= moment:
            count += 1
        return self._at(count)

    def _at(self, count: int) -> datetime:
        months = self._start.year * _MONTHS_A_YEAR + self._start.month - 1 + self._months * count
        year, month = divmod(months, _MONTHS_A_YEAR)
        day = min(self._start.day, calendar.monthrange(year, month + 1)[1])
        return self._start.replace(year=year, month=month + 1, day=day) + self._rest * count


def timetable_of(schedule: api.Schedule, start: datetime) -> Timetable | None:
    """Return when a declared schedule fires, or None if nothing is declared.

    Raises:
        ValueError: It cannot be read; the message says what to write.
    """
    if schedule.HasField("cron"):
        return CronTable(schedule.cron.cron_string, schedule.cron.timezone)
    if schedule.HasField("period"):
        return PeriodTable(schedule.period, start)
    return None
