"""What changes, as a section of the report: the same that a terminal is told, in tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from ..pricing.month import Traffic
from ..pricing.total import usd
from .changes import Comparison, PriceChange

__all__ = ["changes_section"]


def changes_section(comparison: Comparison, traffic: Traffic | None) -> str:
    """Return the section of what differs from an earlier plan or a lock.

    Args:
        comparison: What differs.
        traffic: The traffic of the months of now.
    """
    parts = [*_names(comparison), *_changes(comparison), *_prices(comparison, traffic)]
    told = "".join(parts) or "<p>Nothing differs.</p>"
    title = f"Changes since {escape(comparison.against)}"
    return f'<section class="service changes" id="changes"><h2>{title}</h2>{told}</section>'


def _names(comparison: Comparison) -> Iterator[str]:
    rows = (
        ("Added", "good", comparison.added),
        ("Removed", "bad", comparison.removed),
        ("New containers for", "", comparison.restarts),
    )
    told = "".join(
        f'<dt>{name}</dt><dd class="{kind}">{escape(", ".join(names))}</dd>'
        for name, kind, names in rows
        if names
    )
    if told:
        yield f"<dl>{told}</dl>"


def _changes(comparison: Comparison) -> Iterator[str]:
    rows = (
        ((one.of, one.field, one.before, one.after), ("", "", "bad", "good"))
        for one in comparison.changes
    )
    if comparison.changes:
        yield _table(("", "what", "before", "after"), rows)


def _prices(comparison: Comparison, traffic: Traffic | None) -> Iterator[str]:
    if not comparison.prices:
        return
    rows = (_price_row(one) for one in comparison.prices)
    yield _table(("USD", "what", "before", "after", "difference"), rows)
    notes = [f"Prices then: {comparison.priced_by}."]
    if comparison.traffic is not None and comparison.traffic != traffic:
        notes.append(f"Months then: under {comparison.traffic.words()}.")
    yield f'<p class="note">{escape(" ".join(notes))}</p>'


def _price_row(one: PriceChange) -> tuple[tuple[str, ...], tuple[str, ...]]:
    dearer = one.difference > 0
    difference = f"{'+' if dearer else '-'}{usd(abs(one.difference))}"
    cells = (one.of, one.what, usd(one.before), usd(one.after), difference)
    return cells, ("", "", "", "", "bad" if dearer else "good")


def _table(
    headings: tuple[str, ...], rows: Iterable[tuple[tuple[str, ...], tuple[str, ...]]]
) -> str:
    """A table whose cells know their headings, so that a narrow page can put them below each other."""
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join(_row(headings, cells, kinds) for cells, kinds in rows)
    return (
        f'<div class="wide"><table class="stacks"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(headings: tuple[str, ...], cells: tuple[str, ...], kinds: tuple[str, ...]) -> str:
    first, *rest = cells
    told = "".join(
        f'<td data-of="{heading}"><span class="{kind}">{escape(cell)}</span></td>'
        for heading, cell, kind in zip(headings[1:], rest, kinds[1:], strict=True)
    )
    return f"<tr><td>{escape(first)}</td>{told}</tr>"
