"""What a check found: its place, what is wrong, why it matters and what to write instead.

Plain dataclasses rather than validated values: thousands are made in a run, and none is read from
anywhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

__all__ = ["Edit", "Finding", "Fix", "Severity", "Span"]


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"  # it fails, or it leaks, or it costs money for nothing
    WARNING = "warning"  # it works until it does not
    NOTE = "note"  # worth knowing; does not fail a check by itself

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A piece of a file: lines and columns count characters from 1, and the end is excluded."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace a span with a text; an empty span inserts.

    Attributes:
        span: What is replaced.
        text: What is written into the file.
        shown: What outputs show of the text, where that may hold a key.
    """

    span: Span
    text: str
    shown: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return it as plain data, without keys."""
        text = self.text if self.shown is None else self.shown
        return {"span": asdict(self.span), "text": text}


@dataclass(frozen=True, slots=True)
class Fix:
    """A rewrite that cures a finding.

    Attributes:
        says: What it does, in a few words: ``"write App"``.
        edits: Its replacements; none overlap.
        safe: Whether the program means the same afterwards; otherwise ``--unsafe-fixes`` is needed.
    """

    says: str
    edits: tuple[Edit, ...]
    safe: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of one file.

    Attributes:
        code: The rule, such as ``"MK101"``.
        name: Its name for people, such as ``"unknown-gpu"``.
        severity: How bad it is.
        path: The file, as it was given.
        span: Where in it.
        source_line: The first line of the span.
        message: What is wrong, with the value.
        why: Why it matters, in a sentence.
        instead: What to write instead.
        fix: A rewrite, where there is one.
    """

    code: str
    name: str
    severity: Severity
    path: str
    span: Span
    source_line: str
    message: str
    why: str
    instead: str
    fix: Fix | None = None

    @property
    def place(self) -> str:
        """``FILE:LINE:COLUMN``."""
        return f"{self.path}:{self.span.line}:{self.span.column}"

    @property
    def sort_key(self) -> tuple[str, Span, str, str]:
        """By file, then place, then code."""
        return (self.path, self.span, self.code, self.message)

    def as_json(self) -> dict[str, object]:
        """Return it as plain data, without keys."""
        fix = None
        if self.fix is not None:
            edits = [one.as_json() for one in self.fix.edits]
            fix = {"says": self.fix.says, "edits": edits, "safe": self.fix.safe}
        return {**asdict(self), "fix": fix}
