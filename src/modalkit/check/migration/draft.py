"""The text of a file as offsets, and edits made from them.

Every rewrite of this package is a list of replaced spans: what is not in a span stays as it was,
byte for byte, comments and odd spacing included.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from ..declared import ModalFile
from ..findings import Edit, Span

__all__ = ["Draft", "Slot"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One argument of a call as text: from its first character to its last, its comma apart.

    Attributes:
        start: Offset of its first character.
        end: Offset after its last one.
        comma: Offset of the comma behind it; None for a last argument without one.
    """

    start: int
    end: int
    comma: int | None


class Draft:
    """Offsets into the text of one file, counted in characters."""

    def __init__(self, file: ModalFile) -> None:
        self.file = file
        self.text = file.source.text

    @cached_property
    def _starts(self) -> list[int]:
        """Where each line starts; a file without findings is never asked."""
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a place; lines and columns count from 1."""
        return self._starts[line - 1] + column - 1

    def start(self, node: ast.AST) -> int:
        """Return where a node starts."""
        span = self.file.source.span(node)
        return self.offset(span.line, span.column)

    def end(self, node: ast.AST) -> int:
        """Return where a node ends."""
        span = self.file.source.span(node)
        return self.offset(span.end_line, span.end_column)

    def of(self, node: ast.AST) -> str:
        """Return the text of a node."""
        return self.text[self.start(node) : self.end(node)]

    def line_start(self, offset: int) -> int:
        """Return where the line of an offset starts."""
        return self._starts[bisect_right(self._starts, offset) - 1]

    def line_end(self, offset: int) -> int:
        """Return where the line of an offset ends, before its newline."""
        end = self.text.find("\n", offset)
        return len(self.text) if end < 0 else end

    def indent(self, offset: int) -> str:
        """Return the white space that the line of an offset starts with."""
        start = self.line_start(offset)
        line = self.text[start : self.line_end(offset)]
        return line[: len(line) - len(line.lstrip())]

    def comment_behind(self, argument: ast.AST) -> str:
        """Return the comment behind an argument with lines of its own, which goes with it; or nothing."""
        start, end = self.start(argument), self.end(argument)
        rest = self.text[end : self.line_end(end)].lstrip(", \t")
        alone = not self.text[self.line_start(start) : start].strip()
        return f"  {rest.rstrip()}" if alone and rest.startswith("#") else ""

    # -- edits

    def edit(self, start: int, end: int, text: str) -> Edit:
        """Return an edit of offsets."""
        return Edit(Span(*self._place(start), *self._place(end)), text)

    def _place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def replace(self, node: ast.AST, text: str) -> Edit:
        """Replace a node."""
        return self.edit(self.start(node), self.end(node), text)

    def insert(self, offset: int, text: str) -> Edit:
        """Insert a text."""
        return self.edit(offset, offset, text)

    def rename(self, node: ast.Attribute | ast.keyword | ast.alias, name: str) -> Edit:
        """Replace the name of an attribute, a keyword or an imported name."""
        if isinstance(node, ast.Attribute):
            end = self.end(node)
            return self.edit(end - len(node.attr), end, name)
        start = self.start(node)
        old = node.name if isinstance(node, ast.alias) else node.arg or ""
        return self.edit(start, start + len(old), name)

    def remove_statement(self, node: ast.stmt) -> Edit:
        """Remove a statement with its line, or from the line it shares with others."""
        start, end = self.start(node), self.end(node)
        if self._is_only(node):
            return self.edit(start, end, "pass")
        before = self.text[self.line_start(start) : start]
        rest = self.text[end : self.line_end(end)]
        if not before.strip() and (not rest.strip() or rest.lstrip().startswith("#")):
            after = min(self.line_end(end) + 1, len(self.text))
            return self.edit(
                self.line_start(start), after + self._blanks_too_many(start, after), ""
            )
        if rest.lstrip().startswith(";"):
            return self.edit(start, end + len(rest) - len(rest.lstrip(" ;")), "")
        return self.edit(start, end, "pass")

    def _blanks_too_many(self, start: int, after: int) -> int:
        """How long the blank lines below are, where those above stay and are enough for both."""
        above = self.text[: self.line_start(start)].splitlines()
        blank_above = [*takewhile(_is_blank, reversed(above))]
        below = [*takewhile(_is_blank, self.text[after:].splitlines(keepends=True))]
        enough = len(blank_above) >= len(below) or len(blank_above) == len(above)
        return sum(map(len, below)) if enough else 0

    def _is_only(self, node: ast.stmt) -> bool:
        """Whether a block would be empty without a statement."""
        above = self.file.nodes.parent(node)
        blocks = (getattr(above, name, None) for name in ("body", "orelse", "finalbody"))
        return not isinstance(above, ast.Module) and [node] in list(blocks)

    # -- arguments of calls

    def slots(self, call: ast.Call) -> list[Slot]:
        """Return the arguments of a call in the order of the text, with their commas."""
        opening = self._opening(call)
        found: list[Slot] = []
        depth, start, last = 0, None, 0
        for kind, offset, end, text in self._tokens(opening, self.end(call)):
            if kind in _SPACE:
                continue
            if kind == tokenize.OP and text in "([{":
                depth += 1
            closes = kind == tokenize.OP and text in ")]}"
            depth -= closes
            if start is not None and (
                (closes and depth == 0) or (depth == 1 and (kind, text) == (tokenize.OP, ","))
            ):
                found.append(Slot(start, last, offset if text == "," else None))
                start = None
            elif start is None and depth >= 1 and offset > opening:
                start = offset
            last = end
        return found

    def _opening(self, call: ast.Call) -> int:
        """Where the parenthesis of a call opens: the first one after what is called."""
        opening = self.end(call.func)
        for kind, offset, _, text in self._tokens(opening, self.end(call)):
            if (kind, text) == (tokenize.OP, "("):
                return offset
        return opening

    def _tokens(self, start: int, end: int) -> list[tuple[int, int, int, str]]:
        """The tokens of a piece of text: kind, start, end, text."""
        piece = self.text[start:end]
        starts = [0, *(match.end() for match in re.finditer("\n", piece))]
        found = []
        try:
            for token in tokenize.generate_tokens(io.StringIO(piece).readline):
                first = start + starts[token.start[0] - 1] + token.start[1]
                after = start + starts[token.end[0] - 1] + token.end[1] if token.string else first
                found.append((token.type, first, after, token.string))
        except (tokenize.TokenError, SyntaxError, IndexError):
            pass  # the closing parentheses of what the call stands in
        return found

    def slot(self, call: ast.Call, argument: ast.AST) -> Slot:
        """Return the slot that holds an argument of a call."""
        start = self.start(argument)
        return next(one for one in self.slots(call) if one.start <= start < one.end)

    def remove_argument(self, call: ast.Call, *arguments: ast.AST) -> list[Edit]:
        """Remove arguments of a call, with their commas, and their lines where they stand alone."""
        slots = self.slots(call)
        gone = {self.slot(call, one) for one in arguments}
        kept = [one for one in slots if one not in gone]
        opening, closing = self._opening(call), self.end(call) - 1
        lines = self.text[opening + 1 : closing].split("\n")
        if not kept and not any(line.lstrip().startswith("#") for line in lines):
            return [self.edit(opening + 1, closing, "")]
        edits = []
        for index, slot in enumerate(slots):
            if slot in gone:
                last = slots[-1] is slot or all(one in gone for one in slots[index:])
                edits.append(self._without(slot, slots[index - 1] if index else None, last=last))
        return _joined(edits, self)

    def remove_entry(self, held: ast.Dict, key: ast.AST) -> list[Edit]:
        """Remove an entry of a dict that is written out, with its comma."""
        entries = [one for one in held.keys if one is not None]
        index = held.keys.index(key)  # type: ignore[arg-type] # a key of this dict, as the caller says
        start, end = self.start(key), self.end(held.values[index])
        rest = self.text[end : self.line_end(end)]
        comma = end + len(rest) - len(rest.lstrip()) + 1 if rest.lstrip().startswith(",") else None
        slot = Slot(start, end, None if comma is None else comma - 1)
        before = None
        if index:
            before = Slot(0, self.end(held.values[index - 1]), None)
        return [self._without(slot, before, last=held.keys[-1] is key or len(entries) == 1)]

    def _without(self, slot: Slot, before: Slot | None, *, last: bool) -> Edit:
        end = slot.end if slot.comma is None else slot.comma + 1
        line, rest = self.line_start(slot.start), self.text[end : self.line_end(end)]
        alone = not self.text[line : slot.start].strip() and (
            not rest.strip() or rest.lstrip().startswith("#")
        )
        if alone:
            return self.edit(line, min(self.line_end(end) + 1, len(self.text)), "")
        if last and before is not None and "\n" not in self.text[before.end : slot.start]:
            return self.edit(before.end, slot.end, "")
        if last:  # a comment may stand before it
            return self.edit(slot.start, slot.end, "")
        return self.edit(slot.start, end + len(rest) - len(rest.lstrip(" ")), "")

    def add_keyword(self, call: ast.Call, text: str) -> Edit:
        """Add a keyword behind the last argument of a call."""
        slots = self.slots(call)
        if not slots:
            return self.insert(self._opening(call) + 1, text)
        last = slots[-1]
        line = self.line_start(last.start)
        if not self.text[line : last.start].strip():  # one argument a line: so has the new one
            after = "," if last.comma is not None else ""
            at = last.end if last.comma is None else last.comma + 1
            first = "," if last.comma is None else ""
            return self.insert(at, f"{first}\n{self.indent(last.start)}{text}{after}")
        return self.insert(last.end, f", {text}")


_SPACE = {tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT}


def _joined(edits: list[Edit], draft: Draft) -> list[Edit]:
    """Edits of neighbours can meet; those that overlap become one removal."""
    joined: list[Edit] = []
    for edit in sorted(edits, key=lambda one: one.span):
        if joined:
            last = joined[-1].span
            if (edit.span.line, edit.span.column) < (last.end_line, last.end_column):
                end = max(
                    (last.end_line, last.end_column), (edit.span.end_line, edit.span.end_column)
                )
                joined[-1] = draft.edit(
                    draft.offset(last.line, last.column), draft.offset(*end), ""
                )
                continue
        joined.append(edit)
    return joined


def _is_blank(line: str) -> bool:
    return not line.strip()
