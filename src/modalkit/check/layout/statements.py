"""Statements and decorators on as many lines as they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .pieces import Element, Group, Piece, UnknownLayoutError, Word, flat, is_forced, pieces_of

__all__ = ["laid_out"]

_STEP = "    "
_FLUENT = 2  # calls on calls, from which a chain has a line for each
_HEADS = {"if", "elif", "while", "with", "for", "def", "class", "async", "import", "del", "assert",
          "raise", "global", "nonlocal", "except", "match", "case", "pass", "yield", "else", "try"}  # fmt: skip
_ASSIGNS = {"=", "+=", "|=", "-=", "*=", "/="}
# What divides an expression outside of brackets, so that it would be split there.
_DIVIDES = {"+", "-", "*", "/", "//", "%", "@", "|", "&", "^", "~", "<<", ">>", "==", "!=", "<", ">", "<=", ">=",
            ":=", ",", ";", "->", "and", "or", "not", "in", "is", "if", "else", "for", "lambda", "yield"}  # fmt: skip
_UNPACKS = {"*", "**"}


def laid_out(text: str, indent: str, limit: int, *, beside: int = 0) -> str:
    """Return a statement or decorator as a formatter would lay it out.

    Args:
        text: It, from its first character to its last.
        indent: What its line starts with.
        limit: The longest line.
        beside: Characters that follow it on its last line.

    Raises:
        UnknownLayoutError: It has what is not laid out here.
    """
    lines = _Layout(limit, beside).statement(pieces_of(text), indent)
    return "\n".join(lines)[len(indent) :]


@dataclass(frozen=True, slots=True)
class _Layout:
    limit: int
    beside: int

    def statement(self, pieces: list[Piece], indent: str) -> list[str]:
        first = pieces[0].text if pieces and isinstance(pieces[0], Word) else ""
        assigns = [
            at for at, one in enumerate(pieces) if isinstance(one, Word) and one.text in _ASSIGNS
        ]
        if first == "from":
            return self._import(pieces, indent)
        if first in _HEADS:
            return [self._one_line("", pieces, indent, "")]
        if first == "@":
            return self.split("@", pieces[1:], indent, "")
        if first == "return":
            return self._value("return", pieces[1:], indent)
        if assigns:
            return self._value(flat(pieces[: assigns[-1] + 1]), pieces[assigns[-1] + 1 :], indent)
        return self.split("", pieces, indent, "")

    def _one_line(self, prefix: str, pieces: Sequence[Piece], indent: str, suffix: str) -> str:
        line = f"{indent}{prefix}{flat(pieces)}{suffix}"
        if is_forced(pieces) or len(line) + self.beside > self.limit:
            raise UnknownLayoutError
        return line

    def _fits(self, prefix: str, pieces: Sequence[Piece], indent: str, suffix: str) -> bool:
        length = len(indent) + len(prefix) + len(flat(pieces)) + len(suffix)
        return not is_forced(pieces) and length + self.beside <= self.limit

    def _value(self, head: str, pieces: list[Piece], indent: str) -> list[str]:
        """``x = ...`` and ``return ...``: parentheses around the whole value are the formatter's."""
        if not pieces:
            return [f"{indent}{head}"]
        value, inside = _without_parentheses(pieces), _Layout(self.limit, 0)
        if self._fits(f"{head} ", value, indent, ""):
            return [f"{indent}{head} {flat(value)}"]
        if branches := _branches(value):
            body = inside.parts(value, branches, indent + _STEP)
        elif _chain(value) >= _FLUENT:
            body = inside.split("", value, indent + _STEP, "", inside=True)
        else:
            return self.split(f"{head} ", value, indent, "")
        return [f"{indent}{head} (", *body, f"{indent})"]

    def parts(self, pieces: list[Piece], parts: list[Sequence[Piece]], indent: str) -> list[str]:
        """Return what parentheses hold on one line if it fits, else a part a line."""
        if self._fits("", pieces, indent, ""):
            return [f"{indent}{flat(pieces)}"]
        return [self._one_line("", _unspaced(list(one)), indent, "") for one in parts]

    def split(
        self,
        prefix: str,
        pieces: Sequence[Piece],
        indent: str,
        suffix: str,
        *,
        inside: bool = False,
    ) -> list[str]:
        """Return pieces on one line if they fit, else split at their chain or their last bracket."""
        if self._fits(prefix, pieces, indent, suffix):
            return [f"{indent}{prefix}{flat(pieces)}{suffix}"]
        if inside and _chain(pieces) >= _FLUENT:
            return self._links(prefix, pieces, indent, suffix)
        at = self._bracket(prefix, pieces, indent)
        group = pieces[at]
        assert isinstance(group, Group)  # noqa: S101 - `_bracket` chose it
        if any(isinstance(one, Group) and one.is_annotated for one in pieces):
            raise UnknownLayoutError  # a comment in a chain that has no line for each link
        space = " " if group.space else ""
        opening = f"{indent}{prefix}{flat(pieces[:at])}{space}{group.opening}"
        body = _Layout(self.limit, 0).body(group, indent + _STEP)
        rest = self.split(group.closing, pieces[at + 1 :], indent, suffix)
        return [_with_comment(opening, group.beside), *body, *rest]

    def _bracket(self, prefix: str, pieces: Sequence[Piece], indent: str) -> int:
        """The last bracket that holds something and whose opening is not too far to the right.

        Raises:
            UnknownLayoutError: There is none, or the pieces would be split elsewhere.
        """
        if _divides(pieces):
            raise UnknownLayoutError
        for at in range(len(pieces) - 1, -1, -1):
            one = pieces[at]
            opening = len(indent) + len(prefix) + len(flat(pieces[:at])) + 1
            if isinstance(one, Group) and one.elements and opening <= self.limit:
                if is_forced(pieces[:at]):
                    continue
                return at
        raise UnknownLayoutError

    def _links(self, prefix: str, pieces: Sequence[Piece], indent: str, suffix: str) -> list[str]:
        """A chain of calls with a line for each link."""
        starts = [0, *_links(pieces), len(pieces)]
        links = [list(pieces[start:end]) for start, end in pairwise(starts)]
        lines: list[str] = []
        for link in links:
            last, ends = link[-1], suffix if link is links[-1] else ""
            comment = last.after if isinstance(last, Group) else ""
            if isinstance(last, Group) and last.is_annotated:
                link[-1] = replace(last, after="", between=[])
            layout = replace(self, beside=len(comment) + 2 if comment else self.beside)
            lines += layout.split("" if lines else prefix, link, indent, ends)
            lines[-1] = _with_comment(lines[-1], comment)
            if isinstance(last, Group):
                lines += [f"{indent}{one}" for one in last.between]
        return lines

    def body(self, group: Group, indent: str) -> list[str]:
        """Return what stands in a bracket that is split: on one line, or an element a line."""
        elements = group.elements
        if not group.is_forced:
            line = f"{indent}{', '.join(flat(one.pieces) for one in elements)}"
            loose = group.is_call or len(elements) == 1
            if loose and len(line) <= self.limit and not any(is_forced(e.pieces) for e in elements):
                return [line]
            if len(elements) == 1:
                return self.split("", elements[0].pieces, indent, "", inside=True)
        lines = [line for one in elements for line in self._element(one, indent)]
        return [*lines, *(f"{indent}{one}" for one in group.below)]

    def _element(self, element: Element, indent: str) -> list[str]:
        lines = self.split("", element.pieces, indent, ",", inside=True)
        lines[-1] = _with_comment(lines[-1], element.beside)
        return [*(f"{indent}{one}" for one in element.above), *lines]

    def _import(self, pieces: list[Piece], indent: str) -> list[str]:
        """``from x import a, b``, its parentheses being the formatter's."""
        at = next(
            (i for i, one in enumerate(pieces) if isinstance(one, Word) and one.text == "import"),
            -1,
        )
        head, names = flat(pieces[: at + 1]), pieces[at + 1 :]
        held = names[0] if len(names) == 1 and isinstance(names[0], Group) else None
        group = held or Group("(", space=True, is_call=True, elements=_divided(names))
        line = f"{indent}{head} {', '.join(flat(one.pieces) for one in group.elements)}"
        if not group.is_forced and len(line) + self.beside <= self.limit:
            return [line]
        group.has_comma = True
        opening = _with_comment(f"{indent}{head} (", group.beside)
        return [opening, *self.body(group, indent + _STEP), f"{indent})"]


def _with_comment(line: str, comment: str) -> str:
    return f"{line}  {comment}" if comment else line


def _without_parentheses(pieces: list[Piece]) -> list[Piece]:
    """A value without the parentheses around all of it."""
    group = pieces[0] if len(pieces) == 1 else None
    if not isinstance(group, Group) or group.opening != "(" or len(group.elements) != 1:
        return _unspaced(pieces)
    held = group.elements[0]
    if group.has_comma or group.beside or group.below or held.above:
        return _unspaced(pieces)
    last = held.pieces[-1]
    if held.beside and isinstance(last, Group):  # behind the last link of a chain
        return [*held.pieces[:-1], replace(last, after=held.beside)]
    return _unspaced(pieces) if held.beside else held.pieces


def _unspaced(pieces: list[Piece]) -> list[Piece]:
    """Pieces that start where they stand: the space before them is the head's."""
    first = pieces[0]
    if isinstance(first, Word):
        return [Word(first.text, space=False), *pieces[1:]]
    first.space = False
    return pieces


def _divided(names: list[Piece]) -> list[Element]:
    """The names of an import without parentheses."""
    elements = [Element()]
    for one in names:
        if isinstance(one, Word) and one.text == ",":
            elements.append(Element())
        else:
            elements[-1].pieces.append(one)
    for element in elements:
        element.pieces = _unspaced(element.pieces) if element.pieces else []
    return elements


def _links(pieces: Sequence[Piece]) -> list[int]:
    """Where the links of a chain start: at each dot behind a bracket."""
    return [
        at
        for at, one in enumerate(pieces)
        if isinstance(one, Word) and one.text == "." and at and isinstance(pieces[at - 1], Group)
    ]


def _chain(pieces: Sequence[Piece]) -> int:
    """How many links a chain of calls has; 0 for anything else."""
    return 0 if _divides(pieces) else len(_links(pieces))


def _divides(pieces: Sequence[Piece]) -> bool:
    """Whether an operator or keyword outside of brackets divides pieces."""
    return any(
        isinstance(one, Word) and one.text in _DIVIDES and not (at == 0 and one.text in _UNPACKS)
        for at, one in enumerate(pieces)
    )


def _branches(pieces: Sequence[Piece]) -> list[Sequence[Piece]]:
    """The three parts of ``a if b else c``; none of anything else."""
    words = [(at, one.text) for at, one in enumerate(pieces) if isinstance(one, Word)]
    found = [(at, text) for at, text in words if text in {"if", "else", "for", "lambda", ",", ":="}]
    if [text for _, text in found] != ["if", "else"]:
        return []
    (first, _), (second, _) = found
    return [pieces[:first], pieces[first:second], pieces[second:]]
