"""The text of one statement as a tree of words and brackets, with the comments that stand between."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = [
    "Element",
    "Group",
    "Piece",
    "UnknownLayoutError",
    "Word",
    "flat",
    "is_forced",
    "pieces_of",
]

_CLOSING = {"(": ")", "[": "]", "{": "}"}
_BLANK = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


class UnknownLayoutError(Exception):
    """A statement that is left as it is; it never leaves the package."""


@dataclass(frozen=True, slots=True)
class Word:
    """A name, a number, a string or an operator.

    Attributes:
        text: It.
        space: Whether a space stands before it.
    """

    text: str
    space: bool


@dataclass(slots=True)
class Element:
    """What stands between two commas of a bracket.

    Attributes:
        pieces: Its words and brackets.
        above: Comments on lines of their own before it.
        beside: The comment behind it and its comma.
    """

    pieces: list[Piece] = field(default_factory=list)
    above: list[str] = field(default_factory=list)
    beside: str = ""


@dataclass(slots=True)
class Group:
    """A bracket and what stands in it.

    Attributes:
        opening: ``(``, ``[`` or ``{``.
        space: Whether a space stands before it.
        is_call: Whether it follows what it calls or indexes.
        elements: What its commas divide.
        has_comma: Whether a comma stands behind the last one.
        beside: The comment behind the opening.
        below: Comments before the closing.
        after: The comment behind the closing, where a chain goes on in the next line.
        between: Comments on lines of their own before the next link of the chain.
    """

    opening: str
    space: bool
    is_call: bool
    elements: list[Element] = field(default_factory=list)
    has_comma: bool = False
    beside: str = ""
    below: list[str] = field(default_factory=list)
    after: str = ""
    between: list[str] = field(default_factory=list)

    @property
    def closing(self) -> str:
        """``)``, ``]`` or ``}``."""
        return _CLOSING[self.opening]

    @property
    def is_forced(self) -> bool:
        """Whether it has to be split: by a comma behind the last element, or by a comment."""
        single = len(self.elements) == 1 and not self.is_call and self.opening == "("
        commented = (
            self.beside or self.below or any(one.above or one.beside for one in self.elements)
        )
        return bool(commented) or self.is_annotated or (self.has_comma and not single)

    @property
    def is_annotated(self) -> bool:
        """Whether a comment stands between it and the next link of its chain."""
        return bool(self.after or self.between)


Piece = Word | Group


@dataclass(frozen=True, slots=True)
class _Token:
    """A token: its text, whether a space comes before it, and whether it starts a line."""

    kind: int
    text: str
    space: bool
    starts_line: bool


def pieces_of(text: str) -> list[Piece]:
    """Read the text of one statement.

    Raises:
        UnknownLayoutError: It has what is not laid out here.
    """
    reader = _Reader(list(_tokens(text)))
    pieces = reader.read()
    if not reader.is_done:
        raise UnknownLayoutError
    return pieces


def _tokens(text: str) -> Iterator[_Token]:
    lines = text.split("\n")
    last: tuple[str, tuple[int, int]] | None = None
    for kind, word, start, end in _whole(text, lines):
        if kind in _BLANK:
            continue
        if "\n" in word or lines[start[0] - 1].rstrip().endswith("\\"):
            raise UnknownLayoutError
        broken = last is not None and last[1][0] != start[0]
        gap = last is not None and last[1] != start
        between = not (broken and last is not None and _hugs(last[0], word))
        yield _Token(kind, word, gap and between, broken)
        last = (word, end)


def _hugs(before: str, after: str) -> bool:
    """Whether no space stands between two words when the line break between them goes."""
    return before in _CLOSING or after in _CLOSING.values() or "." in {before, after}


_Place = tuple[int, int]


def _whole(text: str, lines: Sequence[str]) -> Iterator[tuple[int, str, _Place, _Place]]:
    """The tokens of a text, an f-string being one whatever Python reads it."""
    opened: list[_Place] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            name = tokenize.tok_name[token.type]
            if name in {"FSTRING_START", "TSTRING_START"}:
                opened.append(token.start)
            elif name in {"FSTRING_END", "TSTRING_END"}:
                start = opened.pop()
                if not opened and start[0] == token.end[0]:
                    word = lines[start[0] - 1][start[1] : token.end[1]]
                    yield tokenize.STRING, word, start, token.end
                elif not opened:
                    raise UnknownLayoutError
            elif not opened:
                yield token.type, token.string, token.start, token.end
    except (tokenize.TokenError, SyntaxError) as error:
        raise UnknownLayoutError from error


class _Reader:
    """Reads tokens into pieces."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def is_done(self) -> bool:
        """Whether every token was read."""
        return self._at == len(self._tokens)

    def read(self) -> list[Piece]:
        """Read to the end, or to the closing of the bracket around."""
        found: list[Piece] = []
        while not self.is_done and self._tokens[self._at].text not in _CLOSING.values():
            found.append(self._piece(found))
        return found

    def _piece(self, before: Sequence[Piece]) -> Piece:
        token = self._tokens[self._at]
        self._at += 1
        if token.kind == tokenize.COMMENT:
            raise UnknownLayoutError  # a comment where none is expected
        last = before[-1] if before else None
        if token.kind == tokenize.STRING and isinstance(last, Word) and _is_string(last.text):
            raise UnknownLayoutError  # strings that are put together
        if token.text not in _CLOSING:
            return Word(token.text, token.space and last is not None)
        is_call = isinstance(last, Group) or (isinstance(last, Word) and _can_be_called(last.text))
        group = Group(token.text, token.space and last is not None, is_call and not token.space)
        self._fill(group)
        return group

    def _fill(self, group: Group) -> None:
        """Read the elements of a bracket and its closing."""
        element, parameters = Element(), False
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind == tokenize.COMMENT:
                self._at += 1
                self._comment(token, group, element)
            elif token.text == group.closing:
                self._at += 1
                self._close(group, element)
                return
            elif token.text == "," and not parameters:
                self._at += 1
                group.elements.append(element)
                group.has_comma, element = True, Element()
            else:
                self._chained(token, element)
                parameters = token.text == "lambda" or (parameters and token.text != ":")
                group.has_comma = False
                element.pieces.append(self._piece(element.pieces))
        raise UnknownLayoutError

    def _chained(self, token: _Token, element: Element) -> None:
        """Give a comment that turns out to stand between two links of a chain to the first of them."""
        last = element.pieces[-1] if element.pieces else None
        if element.beside and isinstance(last, Group):
            last.after, element.beside = element.beside, ""
        annotated = isinstance(last, Group) and last.is_annotated
        if (annotated and token.text != ".") or element.beside:
            raise UnknownLayoutError

    def _close(self, group: Group, element: Element) -> None:
        last = element.pieces[-1] if element.pieces else None
        if isinstance(last, Group) and last.is_annotated:
            raise UnknownLayoutError  # a comment before the closing, with no comma before it
        if element.pieces:
            group.elements.append(element)
        else:
            group.below = element.above

    def _comment(self, token: _Token, group: Group, element: Element) -> None:
        """Put a comment where it stands: behind the opening, behind an element, or on its own line."""
        if token.starts_line and not element.pieces:
            element.above.append(token.text)
        elif token.starts_line and isinstance(last := element.pieces[-1], Group):
            last.between.append(token.text)
        elif token.starts_line:
            raise UnknownLayoutError
        elif element.pieces:
            element.beside = token.text
        elif group.elements:
            group.elements[-1].beside = token.text
        else:
            group.beside = token.text


def _is_string(text: str) -> bool:
    return text[-1:] in {'"', "'"}


_KEYWORDS = {"return", "in", "not", "and", "or", "is", "if", "else", "await", "yield", "lambda", "del",
             "assert", "import", "from", "with", "as", "while", "for", "raise", "elif"}  # fmt: skip


def _can_be_called(text: str) -> bool:
    return (text.isidentifier() and text not in _KEYWORDS) or _is_string(text)


def flat(pieces: Sequence[Piece]) -> str:
    """Return pieces on one line."""
    return "".join(map(_flat, pieces))


def _flat(piece: Piece) -> str:
    space = " " if piece.space else ""
    if isinstance(piece, Word):
        return space + piece.text
    inner = ", ".join(flat(one.pieces) for one in piece.elements)
    single = piece.has_comma and len(piece.elements) == 1 and not piece.is_call
    comma = "," if single and piece.opening == "(" else ""
    return f"{space}{piece.opening}{inner}{comma}{piece.closing}"


def is_forced(pieces: Sequence[Piece]) -> bool:
    """Whether some bracket in pieces has to be split."""
    groups = [one for one in pieces if isinstance(one, Group)]
    return any(
        one.is_forced or any(is_forced(each.pieces) for each in one.elements) for one in groups
    )
