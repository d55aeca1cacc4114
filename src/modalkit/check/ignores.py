"""``# modalkit: ignore[MK101] reason``: findings that the author of a file has judged.

A comment holds for its own line; one that stands alone holds for the next line of code. An ignore
that silences nothing is a finding, so that none outlives its reason.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .findings import Finding, Span
from .source import SourceFile

__all__ = ["Ignore", "read_ignores", "unsilenced"]

_COMMENT = re.compile(r"#\s*modalkit:\s*ignore\b(?:\[(?P<codes>[^\]]*)\])?", re.IGNORECASE)
_MARK = re.compile(r"modalkit:\s*ignore", re.IGNORECASE)


@dataclass(slots=True)
class Ignore:
    """One comment.

    Attributes:
        span: The comment.
        line: The line of code it holds for.
        codes: What it silences; empty when it names nothing.
        used: The codes that it did silence.
    """

    span: Span
    line: int
    codes: tuple[str, ...]
    used: set[str] = field(default_factory=set)

    def silences(self, finding: Finding) -> bool:
        """Whether it is about a finding; it is remembered as used then."""
        if finding.code not in self.codes:
            return False
        if not finding.span.line <= self.line <= max(finding.span.end_line, finding.span.line):
            return False
        self.used.add(finding.code)
        return True


def read_ignores(source: SourceFile) -> tuple[Ignore, ...]:
    """Return every ignore comment of a file."""
    if not _MARK.search(source.text):
        return ()
    return tuple(_ignores(source))


def _ignores(source: SourceFile) -> Iterator[Ignore]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
            if token.type == tokenize.COMMENT and (match := _COMMENT.search(token.string)):
                yield _ignore(source, token, match)
    except (tokenize.TokenError, SyntaxError):
        return  # the tree has been read; at worst a comment of an odd file is not seen


def _ignore(source: SourceFile, token: tokenize.TokenInfo, match: re.Match[str]) -> Ignore:
    line, column = token.start
    codes = tuple(
        word.strip().upper() for word in (match["codes"] or "").split(",") if word.strip()
    )
    span = Span(line, column + 1, line, token.end[1] + 1)
    alone = not source.line(line)[:column].strip()
    return Ignore(span, _next_code(source, line) if alone else line, codes)


def _next_code(source: SourceFile, line: int) -> int:
    number = line + 1
    while number <= len(source.lines):
        text = source.line(number).strip()
        if text and not text.startswith("#"):
            return number
        number += 1
    return line


def unsilenced(findings: Iterable[Finding], ignores: Iterable[Ignore]) -> list[Finding]:
    """Return the findings that no comment silences."""
    ignores = tuple(ignores)
    # Every comment is asked, so that two about one finding both count as used.
    asked = [(one, [ignore.silences(one) for ignore in ignores]) for one in findings]
    return [one for one, silenced in asked if not any(silenced)]
