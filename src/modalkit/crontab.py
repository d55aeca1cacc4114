"""The five fields of a cron expression, as crontab(5) has them: their ranges, words and numbers.

Pure and of no side: declarations refuse what cannot fire with it, the local Modal fires by it.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FIELDS", "MACROS", "CronField", "numbers_of"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SUNDAY = 7  # as good as 0, and not a second one for ``*``


class CronField(NamedTuple):
    """One of the five fields: its name, its range, and words for the numbers from least on."""

    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()


FIELDS = (
    CronField("minute", 0, 59),
    CronField("hour", 0, 23),
    CronField("day of month", 1, 31),
    CronField("month", 1, 12, _MONTHS),
    CronField("day of week", 0, _SUNDAY, _WEEKDAYS),
)
# Shorthands that some crons know.
MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def numbers_of(part: str, field: CronField) -> set[int]:
    """Return the numbers that one part of a field stands for; none for a part that cannot be.

    Args:
        part: What stands between commas: ``*``, a number or word, a range ``1-5``, a step ``*/10``.
        field: The field it is in.
    """
    span, slash, step = part.lower().partition("/")
    low, high = _span(span, field, open_ended=bool(slash))
    by = _whole(step) if slash else 1
    possible = field.least <= low <= high <= field.most and by >= 1
    return set(range(low, high + 1, by)) if possible else set()


def _span(text: str, field: CronField, *, open_ended: bool) -> tuple[int, int]:
    if text == "*":
        return field.least, field.most - (field.most == _SUNDAY)
    first, dash, last = text.partition("-")
    low = _number(first, field)
    if dash:
        return low, _number(last, field)
    return low, field.most if open_ended else low


def _number(text: str, field: CronField) -> int:
    if text in field.words:
        return field.least + field.words.index(text)
    return _whole(text)


def _whole(text: str) -> int:
    """Return the number the digits mean; -1, which nothing allows, for anything else."""
    return int(text) if text.isascii() and text.isdecimal() else -1
