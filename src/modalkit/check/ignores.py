"""``# modalkit: ignore[MK101] reason``: findings that the author of a file has judged.

A comment holds for its own line; on the first or last line of a statement, or of a definition's
decorators and head, for all of that. One that stands alone holds for the next line of code, and
``# modalkit: ignore-file[MK302] reason`` for the whole file. Rules go by code or by name. An ignore that
silences nothing, or says no reason, is a finding, so that none outlives its reason.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from .findings import Finding, Span
from .rule import all_rules
from .source import SourceFile

__all__ = ["Comment", "Ignore", "ignore_of", "read_ignores", "unsilenced"]

_COMMENT = re.compile(
    r"#\s*modalkit:\s*ignore(?P<wide>-file)?\b(?:\[(?P<rules>[^\]]*)\])?(?P<reason>[^#]*)",
    re.IGNORECASE,
)
_MARK = re.compile(r"modalkit:\s*ignore", re.IGNORECASE)
_EVERY_LINE = (1, 10**9)
_COMPOUND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment as it stands in a file.

    Attributes:
        text: It, from its ``#``.
        line: Its line, counted from 1.
        column: Its first column, counted from 1.
        lines: The first and the last line of what it holds for.
    """

    text: str
    line: int
    column: int
    lines: tuple[int, int]


@dataclass(slots=True)
class Ignore:
    """One comment that silences findings.

    Attributes:
        span: The comment.
        lines: The first and the last line that it holds for.
        codes: What it silences.
        unknown: What it names that is no rule.
        reason: Why.
        used: The codes that it did silence.
    """

    span: Span
    lines: tuple[int, int]
    codes: tuple[str, ...]
    unknown: tuple[str, ...]
    reason: str
    used: set[str] = field(default_factory=set)


def ignore_of(comment: Comment) -> Ignore | None:
    """Return what a comment silences; None for any other comment."""
    match = _COMMENT.search(comment.text)
    if match is None:
        return None
    named = {word: one.code for one in all_rules() for word in (one.code.lower(), one.name)}
    words = [word.strip() for word in (match["rules"] or "").split(",") if word.strip()]
    codes = dict.fromkeys(named[word.lower()] for word in words if word.lower() in named)
    return Ignore(
        span=Span(comment.line, comment.column, comment.line, comment.column + len(comment.text)),
        lines=_EVERY_LINE if match["wide"] else comment.lines,
        codes=tuple(codes),
        unknown=tuple(word for word in words if word.lower() not in named),
        reason=match["reason"].strip(" \t-:.,"),
    )


def read_ignores(source: SourceFile) -> tuple[Ignore, ...]:
    """Return every ignore comment of a Python file."""
    if not _MARK.search(source.text):
        return ()
    found = (ignore_of(comment) for comment in _comments(source))
    return tuple(one for one in found if one is not None)


def _comments(source: SourceFile) -> Iterator[Comment]:
    extents = _longest(_extents(source))
    try:
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
            if token.type == tokenize.COMMENT and _MARK.search(token.string):
                line, column = token.start
                alone = not source.line(line)[:column].strip()
                holds_at = _next_code(source, line) if alone else line
                held = extents.get(holds_at, (holds_at, holds_at))
                yield Comment(token.string, line, column + 1, held)
    except (tokenize.TokenError, SyntaxError):
        return  # the tree has been read; at worst a comment of an odd file is not seen


def _longest(extents: Iterable[tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """The lines for which a comment at a line holds: the largest piece of code that starts or ends there."""
    found: dict[int, tuple[int, int]] = {}
    for first, last in extents:
        for line in (first, last):
            known = found.setdefault(line, (first, last))
            if last - first > known[1] - known[0]:
                found[line] = first, last
    return found


def _extents(source: SourceFile) -> Iterator[tuple[int, int]]:
    """The first and last line of every statement, decorator, and head of what has a body."""
    for node in ast.walk(source.tree):
        if isinstance(node, _DEFINITION):
            yield from ((one.lineno, one.end_lineno or one.lineno) for one in node.decorator_list)
            yield _first_line(node), _head_end(source, node)
        elif isinstance(node, _COMPOUND):
            yield node.lineno, node.lineno
        elif isinstance(node, ast.stmt):
            yield node.lineno, node.end_lineno or node.lineno


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])


def _head_end(
    source: SourceFile, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
) -> int:
    """The line in which the head of a definition ends: the last one of code before its body."""
    line = _first_line(node.body[0]) - 1
    while line > node.lineno and source.line(line).strip()[:1] in {"", "#"}:
        line -= 1
    return max(line, node.lineno)


def _next_code(source: SourceFile, line: int) -> int:
    number = line + 1
    while number <= len(source.lines):
        text = source.line(number).strip()
        if text and not text.startswith("#"):
            return number
        number += 1
    return line


def unsilenced(findings: Iterable[Finding], ignores: Iterable[Ignore]) -> list[Finding]:
    """Return the findings that no comment silences; a comment is used that is about any of them."""
    found, comments = list(findings), list(ignores)
    held: dict[str, list[tuple[int, int]]] = {}
    for ignore in comments:
        for code in ignore.codes:
            held.setdefault(code, []).append(ignore.lines)
    lines: dict[str, list[tuple[int, int]]] = {}
    for finding in found:
        lines.setdefault(finding.code, []).append(_lines(finding))
    silent = {code: _Extents(each) for code, each in held.items()}
    reached = {code: _Extents(each) for code, each in lines.items()}
    for ignore in comments:
        ignore.used |= {
            code for code in ignore.codes if code in reached and reached[code].meet(ignore.lines)
        }
    return [
        one for one in found if one.code not in silent or not silent[one.code].meet(_lines(one))
    ]


def _lines(finding: Finding) -> tuple[int, int]:
    return finding.span.line, max(finding.span.end_line, finding.span.line)


class _Extents:
    """Pieces of a file, of which many are asked whether one of them meets another piece."""

    def __init__(self, extents: list[tuple[int, int]]) -> None:
        ordered = sorted(extents)
        self._firsts = [first for first, _ in ordered]
        self._furthest = list(accumulate((last for _, last in ordered), max))

    def meet(self, lines: tuple[int, int]) -> bool:
        """Whether one of them shares a line with these."""
        first, last = lines
        index = bisect_right(self._firsts, last)
        return index > 0 and self._furthest[index - 1] >= first
