"""The statements that edits touch, laid out anew where they were laid out before."""

from __future__ import annotations

import ast
import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..findings import Edit
from .pieces import UnknownLayoutError
from .sameness import is_same_program
from .statements import laid_out

__all__ = ["Formatter", "line_limit"]

_USUAL_LIMIT = 88
_COMPOUND = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.For, ast.AsyncFor,
             ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Unit:
    """A statement, a decorator or the head of a ``with``, as lines of its own.

    Attributes:
        start: Offset of its first character.
        end: Offset after its last one.
        first: Its first line, counted from 1.
        last: Its last line.
    """

    start: int
    end: int
    first: int
    last: int


class _Text:
    """A file's text and its units."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.units = list(self._units(ast.parse(text)))

    def _units(self, tree: ast.Module) -> Iterator[_Unit]:
        for node in ast.walk(tree):
            for decorator in getattr(node, "decorator_list", []):
                start, end = self._extent(decorator, decorator)
                yield from self._alone(self.text.rindex("@", 0, start), end)
            if isinstance(node, ast.stmt) and not isinstance(node, _COMPOUND):
                yield from self._alone(*self._extent(node, node))

    def _extent(self, first: ast.expr | ast.stmt, last: ast.expr | ast.stmt) -> tuple[int, int]:
        start = self._offset(first.lineno, first.col_offset)
        return start, self._offset(last.end_lineno or first.lineno, last.end_col_offset or 0)

    def _offset(self, line: int, column: int) -> int:
        text = self.lines[line - 1]
        shift = column if text.isascii() else len(text.encode()[:column].decode(errors="replace"))
        return self._starts[line - 1] + shift

    def _alone(self, start: int, end: int) -> Iterator[_Unit]:
        """What begins its line and shares its last one with a comment at most."""
        first, last = bisect_right(self._starts, start), bisect_right(self._starts, end)
        before = self.text[self._starts[first - 1] : start]
        if not before.strip() and self.behind(end)[:1] in {"", "#"}:
            yield _Unit(start, end, first, last)

    def behind(self, end: int) -> str:
        """Return what follows on the line of an offset."""
        until = self.text.find("\n", end)
        return self.text[end : until if until >= 0 else len(self.text)].strip()

    def indent(self, unit: _Unit) -> str:
        """Return what the line of a unit starts with."""
        return self.text[self._starts[unit.first - 1] : unit.start]

    def touched(self, lines: tuple[int, int]) -> list[_Unit]:
        """Return the units that have some of these lines, the first and the last included."""
        return [one for one in self.units if one.first <= lines[1] and one.last >= lines[0]]


class Formatter:
    """Lays out what fixes touch in one file.

    Args:
        limit: The longest line.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def after(self, before: str, after: str, edits: Sequence[Edit]) -> str:
        """Return a text after its edits with the statements they touch laid out as they were before.

        What would be another program laid out is returned as it is.

        Args:
            before: The text before, its line endings being newlines.
            after: The text after.
            edits: What changed it.
        """
        old, new = _Text(before), _Text(after)
        chosen: dict[int, _Unit] = {}
        for was, now in _moved(edits):
            if all(
                self._laid_out(old, one) == old.text[one.start : one.end]
                for one in old.touched(was)
            ):
                chosen |= {one.start: one for one in new.touched(now)}
        text = after
        for start in sorted(chosen, reverse=True):
            unit = chosen[start]
            words = self._laid_out(new, unit)
            text = text if words is None else text[: unit.start] + words + text[unit.end :]
        return text if is_same_program(after, text) else after

    def _laid_out(self, text: _Text, unit: _Unit) -> str | None:
        """A unit as it should be; None where that is not known."""
        comment = text.behind(unit.end)
        beside = len(comment) + 2 if comment else 0
        try:
            return laid_out(
                text.text[unit.start : unit.end], text.indent(unit), self._limit, beside=beside
            )
        except UnknownLayoutError:
            return None


_Lines = tuple[int, int]


def _moved(edits: Sequence[Edit]) -> Iterator[tuple[_Lines, _Lines]]:
    """The lines of each edit in the text before and in the text after."""
    shift = 0
    for edit in sorted(edits, key=lambda one: one.span):
        span, added = edit.span, edit.text.count("\n")
        first = span.line + shift
        # Whole lines: what stood behind them starts where they did, and is not touched.
        whole = span.column == 1 and span.end_column == 1 and span.end_line > span.line
        yield (span.line, span.end_line - whole), (first, first + added - whole)
        shift += added - (span.end_line - span.line)


def line_limit(path: str | Path) -> int:
    """Return the longest line that the nearest settings of ruff or black allow; 88 without any."""
    try:
        folder = Path(path).resolve().parent
    except OSError:
        return _USUAL_LIMIT
    return _limit_in(folder)


@lru_cache(maxsize=64)
def _limit_in(folder: Path) -> int:
    for above in (folder, *folder.parents):
        for name in ("ruff.toml", ".ruff.toml", "pyproject.toml"):
            found = _stated(above / name)
            if found is not None:
                return found
    return _USUAL_LIMIT


def _stated(file: Path) -> int | None:
    try:
        data: object = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    tables: list[object] = [data]
    if file.name == "pyproject.toml":
        tool = data.get("tool") if isinstance(data, dict) else None
        tables = [tool.get(name) for name in ("ruff", "black")] if isinstance(tool, dict) else []
    lengths = [one.get("line-length") for one in tables if isinstance(one, dict)]
    return next((one for one in lengths if isinstance(one, int)), None)
