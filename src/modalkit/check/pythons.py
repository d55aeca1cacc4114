"""Which Python a line is written for that the running one does not read.

The parser says what is wrong in its own terms ("expected '('"). What a later Python added, and what
Python 2 had, is known by the shape of the line it stopped at.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

__all__ = ["Written", "written_for"]

_Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Written:
    """What a line is written in.

    Attributes:
        python: The first Python that reads it, such as ``"3.12"``, or ``"2"``.
        construct: What it has that the running Python has not.
    """

    python: str
    construct: str

    @property
    def is_newer(self) -> bool:
        """Whether a later Python reads it."""
        return self.python != "2"


# What each Python added, by the text of the line and by the parser's words for it.
_ADDED: tuple[tuple[_Version, str, re.Pattern[str]], ...] = (
    ((3, 15), "a lazy import", re.compile(r"^\s*lazy\s+(?:import|from)\s+\w")),
    ((3, 14), "a template string", re.compile(r"(?<![\w\"'])(?:t|tr|rt)[\"']", re.IGNORECASE)),
    (
        (3, 14),
        "several exceptions without parentheses",
        re.compile(r"^\s*except\*?\s+(?:\w+\.)*[A-Z]\w*(?:\s*,\s*(?:\w+\.)*[A-Z]\w*)+\s*:"),
    ),
    (
        (3, 13),
        "a type parameter with a default",
        re.compile(
            r"^\s*(?:(?:async\s+)?def|class|type)\s+\w+\s*\[[^\]=]*\w(?:\s*:[^\],=]+)?\s*=[^=]"
        ),
    ),
    (
        (3, 12),
        "a function or class with type parameters",
        re.compile(r"^\s*(?:(?:async\s+)?def|class)\s+\w+\s*\["),
    ),
    ((3, 12), "a type statement", re.compile(r"^\s*type\s+\w+\s*(?:\[.*\])?\s*=[^=]")),
    (
        (3, 12),
        "an f-string with its own quotes inside",
        re.compile(
            r"(?<!\w)(?:f|fr|rf)(?:\"[^\"{]*\{[^}\"]*\"[^}]*\}|'[^'{]*\{[^}']*'[^}]*\})",
            re.IGNORECASE,
        ),
    ),
    ((3, 11), "except*", re.compile(r"^\s*except\s*\*")),
)
_SAID: tuple[tuple[_Version, str, str], ...] = (
    ((3, 12), "an f-string with a backslash inside", "f-string expression part cannot include a"),
    ((3, 12), "an f-string with a comment inside", "f-string expression part cannot include '#'"),
    ((3, 15), "unpacking in a comprehension", "unpacking cannot be used in"),
    ((2, 7), "an octal number without an o", "leading zeros in decimal integer literals"),
)
_LONGEST = 2_000  # characters of a line; more is generated code
_PYTHON_2 = (
    ("a print statement", re.compile(r"^\s*print\s+[^\s(=.,:\[]")),
    ("an exec statement", re.compile(r"^\s*exec\s+[\"'\w]")),
    ("an except clause with a comma", re.compile(r"^\s*except\s+[\w.()]+\s*,\s*[a-z_]\w*\s*:")),
    ("a raise statement with a comma", re.compile(r"^\s*raise\s+[\w.]+\s*,")),
    ("a text marked ur", re.compile(r"(?<![\w\"'])ur[\"']", re.IGNORECASE)),
)


def written_for(line: str, said: str, running: _Version | None = None) -> Written | None:
    """Return what a line that does not parse is written in; None where it is simply wrong.

    Args:
        line: The line at which the parser stopped.
        said: The parser's message.
        running: The Python that does not read it; the one that runs unless given.

    Examples:
        >>> written_for("type Row = dict[str, int]", "invalid syntax", (3, 11)).python
        '3.12'
        >>> written_for("def run(:", "invalid syntax", (3, 11)) is None
        True
    """
    running, line = running or sys.version_info[:2], line[:_LONGEST]
    for version, construct, words in _SAID:
        if words in said and not (3, 0) < version <= running:
            return Written("2" if version < (3, 0) else ".".join(map(str, version)), construct)
    for version, construct, shape in _ADDED:
        if version > running and shape.search(line):
            return Written(".".join(map(str, version)), construct)
    for construct, shape in _PYTHON_2:
        if shape.search(line):
            return Written("2", construct)
    return None
