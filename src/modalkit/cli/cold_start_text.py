"""How cold starts look in a terminal: each phase a bar where it falls, the budget a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median_low

from rich.console import Console
from rich.text import Text

from ..declare.cold_start import PHASES, ColdStartRecord

__all__ = ["bars", "show"]

_NAMES = max(map(len, PHASES))
_NUMBERS = 10  # "  1234.56 s"
_LEAST, _MOST = 20, 60


def show(records: Sequence[ColdStartRecord], console: Console) -> None:
    """Draw the median start of each service, those out of a snapshot apart from the others."""
    groups: dict[tuple[str, bool], list[ColdStartRecord]] = {}
    for record in records:
        groups.setdefault((record.service, record.restored), []).append(record)
    for group in groups.values():
        middle = median_low(one.total_s for one in group)
        shown = next(one for one in group if one.total_s == middle)
        console.print(_title(shown, group), highlight=False)
        for line in bars(shown, console.width):
            console.print(line, highlight=False, no_wrap=True, overflow="crop")
        console.print()


def bars(record: ColdStartRecord, width: int) -> Iterator[Text]:
    """Yield a line for each phase: its name, its seconds, and a bar where in the start it falls.

    Args:
        record: The start.
        width: Columns of the terminal.
    """
    room = min(max(width - _NAMES - _NUMBERS - 4, _LEAST), _MOST)
    scale = room / max(record.total_s, record.budget_s or 0.0, 0.001)
    mark = round(record.budget_s * scale) if record.budget_s is not None else None
    at = 0.0
    for phase, seconds in record.phases.items():
        yield _row(phase, seconds, _bar(at * scale, (at + seconds) * scale, room, mark))
        at += seconds
    style = "green" if record.within_budget else "red"
    yield _row("ready", record.total_s, _bar(0, 0, room, mark), style)


def _title(shown: ColdStartRecord, group: Sequence[ColdStartRecord]) -> Text:
    text = Text(shown.service, style="bold")
    text.append(f"  ready in {shown.total_s:.2f} s", style="" if shown.within_budget else "red")
    if shown.budget_s is not None:
        text.append(f", budget {shown.budget_s:g} s")
    if shown.restored:
        text.append(", restored from a snapshot")
    elif shown.snapshot is not None:
        text.append(f", {shown.snapshot} snapshot not restored")
    if len(group) > 1:
        over = sum(not one.within_budget for one in group)
        totals = [one.total_s for one in group]
        text.append(f"  (median of {len(group)} starts, {min(totals):.2f} to {max(totals):.2f} s")
        text.append(f"; {over} over budget)" if over else ")")
    return text


def _row(name: str, seconds: float, bar: Text, style: str = "") -> Text:
    row = Text(f"  {name.replace('_', ' '):<{_NAMES}}", style=style or "dim")
    row.append(f"{seconds:>{_NUMBERS - 2}.2f} s ", style=style)
    return row.append_text(bar)


def _bar(begin: float, end: float, room: int, mark: int | None) -> Text:
    """A bar between two columns; what lies past the budget is red."""
    first = min(int(begin), room - 1)
    last = max(round(end), first + 1) if end > begin else first
    text = Text()
    for column in range(room + 1):
        if first <= column < last:
            text.append("█", style="red" if mark is not None and column >= mark else "cyan")
        else:
            text.append("│" if column == mark else " ", style="yellow")
    return text
