"""Check a text as a file of its own, for the tests of single rules."""

from __future__ import annotations

from collections.abc import Iterable

from modalkit.check.findings import Finding
from modalkit.check.runner import check_source
from modalkit.check.settings import Settings
from modalkit.check.source import parse_source

__all__ = ["codes", "findings", "indented"]


def findings(text: str, **settings: object) -> list[Finding]:
    """Return what is found in a text; nothing of it is run."""
    chosen = Settings().with_choices(static=True, **settings)
    return check_source(parse_source("demo.py", text), chosen)


def codes(text: str, **settings: object) -> set[str]:
    """Return the codes of what is found in a text."""
    return {one.code for one in findings(text, **settings)}


def indented(lines: Iterable[str], *, by: int = 4) -> str:
    """Return lines as the body of a function at the top of a file, or deeper."""
    return "".join(f"{' ' * by}{line}\n" for line in lines)
