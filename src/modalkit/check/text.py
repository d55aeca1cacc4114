"""Findings for people: place, source line, caret, what is wrong, why it matters, what to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .findings import Finding, Severity
from .runner import CheckReport

__all__ = ["finding_text", "many", "summary_text"]

_WIDEST = 120  # characters of a source line that are shown

Paint = Callable[[str, str], str]  # a text and what it is: "error", "code", "dim"


def _plain(text: str, _role: str) -> str:
    return text


def finding_text(finding: Finding, paint: Paint = _plain) -> str:
    """Return a finding as a block of lines.

    Args:
        finding: The finding.
        paint: Colours a piece of text by its role: a severity, ``"place"``, ``"caret"``, ``"dim"``.
    """
    return "\n".join(_lines(finding, paint))


def _lines(finding: Finding, paint: Paint) -> Iterator[str]:
    head = paint(f"{finding.severity} {finding.code}", finding.severity)
    yield f"{paint(finding.place, 'place')}: {head} {finding.message}"
    yield from _excerpt(finding, paint)
    yield f"  {paint('why:', 'dim')} {finding.why}"
    yield f"  {paint('write:', 'dim')} {finding.instead}{paint(_fixable(finding), 'dim')}"


def _fixable(finding: Finding) -> str:
    if finding.fix is None:
        return ""
    return " [--fix does it]" if finding.fix.safe else " [--fix --unsafe-fixes does it]"


def _excerpt(finding: Finding, paint: Paint) -> Iterator[str]:
    """The source line and a caret under the span, cut so that both fit a screen."""
    if not finding.source_line.strip():
        return
    line, start = finding.source_line.expandtabs(1), finding.span.column - 1
    width = len(line) - start
    if finding.span.end_line == finding.span.line:
        width = min(width, finding.span.end_column - finding.span.column)
    cut = max(0, start - _WIDEST // 2) if len(line) > _WIDEST else 0
    shown = line[cut : cut + _WIDEST]
    number = str(finding.span.line)
    carets = "^" * max(1, min(width, _WIDEST - (start - cut)))
    yield f"  {paint(number + ' |', 'dim')} {shown}".rstrip()
    yield f"  {' ' * len(number)} {paint('|', 'dim')} {' ' * (start - cut)}{paint(carets, 'caret')}"


def summary_text(report: CheckReport) -> str:
    """Return the last line: how many findings of each severity, in how many files."""
    files = many(report.files, "file")
    if not report.findings:
        return f"No problems in {files}."
    counts = [(report.count(severity), severity) for severity in Severity]
    said = ", ".join(many(count, severity) for count, severity in counts if count)
    return f"{said} in {files}."


def many(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 file``, ``1,000 files``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
