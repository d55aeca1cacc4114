"""Keys that were found, made unreadable wherever a finding would repeat them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from .credentials import is_key, looks_random
from .findings import Finding, Fix, Span
from .source import SourceFile

__all__ = ["without_keys"]

_SHOWN = 4  # characters of a key, which say whose it is
_QUOTED = _SHOWN + 1
_LEAST = 8  # characters of a line of a literal that can be a piece of a key
_ENDS = re.compile(r"[\s\"'=;]+")


def without_keys(
    source: SourceFile, findings: Sequence[Finding], keys: Iterable[Span]
) -> list[Finding]:
    """Return the findings with every key made unreadable, whichever rule repeats it.

    What a fix writes into the file stays as it is; what outputs show of it is kept beside it.

    Args:
        source: The file.
        findings: What was found in it.
        keys: Where its keys stand.
    """
    spans = list(keys)
    masks = {text: mask for span in spans for text, mask in _masks(source.segment(span))}
    longest = dict(sorted(masks.items(), key=lambda one: -len(one[0])))
    return [_masked(one, spans, longest) for one in findings] if spans else list(findings)


def _masks(literal: str) -> Iterator[tuple[str, str]]:
    """The texts that would give a key away, with what is shown of each."""
    for text in (literal, *(line.strip() for line in literal.split("\n"))):
        if len(text) > _LEAST:
            yield text, _stars(text, _QUOTED)
    try:
        value = str(ast.literal_eval(literal))
    except (ValueError, SyntaxError):  # a piece of an f-string
        return
    for text in (value, *(part for part in _ENDS.split(value) if _gives_away(part))):
        yield text, _stars(text, _SHOWN)


def _gives_away(part: str) -> bool:
    return is_key(part) or looks_random(part)


def _stars(text: str, shown: int) -> str:
    return text[:shown] + "*" * (len(text) - shown)


def _masked(finding: Finding, keys: list[Span], masks: Mapping[str, str]) -> Finding:
    return replace(
        finding,
        source_line=_line(finding, keys),
        message=_hidden(finding.message, masks),
        instead=_hidden(finding.instead, masks),
        fix=finding.fix and _fix(finding.fix, masks),
    )


def _fix(fix: Fix, masks: Mapping[str, str]) -> Fix:
    edits = tuple(replace(one, shown=_hidden(one.text, masks)) for one in fix.edits)
    return replace(fix, says=_hidden(fix.says, masks), edits=edits)


def _hidden(text: str, masks: Mapping[str, str]) -> str:
    for key, mask in masks.items():
        text = text.replace(key, mask)
    return text


def _line(finding: Finding, keys: list[Span]) -> str:
    """A finding's line with all of its keys but their first characters."""
    line, number = finding.source_line, finding.span.line
    for key in keys:
        if not key.line <= number <= key.end_line:
            continue
        start = key.column - 1 + _QUOTED if number == key.line else 0
        end = key.end_column - 1 if number == key.end_line else len(line)
        line = line[:start] + "*" * max(0, end - start) + line[max(end, start) :]
    return line
