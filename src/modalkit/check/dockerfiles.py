"""A Dockerfile as instructions that know their lines."""

from __future__ import annotations

import ast
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .declared import ModalFile
from .findings import Span
from .ignores import Comment
from .paths import is_file, read_path
from .source import SourceFile, read_text

__all__ = ["Dockerfile", "Instruction", "dockerfiles_of", "is_dockerfile", "read_dockerfile"]

_NAME = re.compile(r"(?:.+\.)?(?:dockerfile|containerfile)(?:\..+)?", re.IGNORECASE)
_WORD = re.compile(r"\s*(?P<word>[A-Za-z]+)(?=\s|$)")
_HEREDOC = re.compile(r"<<-?\s*[\"']?(?P<end>[A-Za-z_]\w*)[\"']?")
_ESCAPE = re.compile(r"#\s*escape\s*=\s*(?P<char>[\\`])\s*$", re.IGNORECASE)
_MOST_ABOVE = 4  # folders between a file and the root of its repository
_NEVER = {".py", ".pyi", ".md"}  # dockerfile.py is a program about Dockerfiles


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continued lines joined by spaces.

    Attributes:
        word: ``"RUN"``, in capitals.
        text: What follows the word.
        pieces: For each line of it: where it starts in the text, its line, and its column there.
    """

    word: str
    text: str
    pieces: tuple[tuple[int, int, int], ...]

    def span(self, start: int, end: int) -> Span:
        """Return where a piece of the text stands in the file."""
        return Span(*self._place(start), *self._place(max(end - 1, start), after=1))

    def _place(self, offset: int, after: int = 0) -> tuple[int, int]:
        index = bisect_right(self.pieces, offset, key=lambda one: one[0]) - 1
        at, line, column = self.pieces[index]
        return line, column + offset - at + after


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """One Dockerfile.

    Attributes:
        source: Its text, with an empty tree.
        instructions: Its instructions, in order.
    """

    source: SourceFile
    instructions: tuple[Instruction, ...]

    def comments(self) -> Iterator[Comment]:
        """Yield its comments; each holds for the instruction behind it."""
        for number, line in enumerate(self.source.lines, start=1):
            if line.lstrip().startswith("#"):
                column = len(line) - len(line.lstrip()) + 1
                yield Comment(line.strip(), number, column, self._behind(number))

    def _behind(self, number: int) -> tuple[int, int]:
        """The lines of the instruction in which a line stands, or of the first one after it."""
        index = bisect_left(self.instructions, number, key=lambda one: one.pieces[-1][1])
        if index == len(self.instructions):
            return number, number
        pieces = self.instructions[index].pieces
        return pieces[0][1], pieces[-1][1]


def is_dockerfile(path: str | Path) -> bool:
    """Whether a file is a Dockerfile, by its name: ``Dockerfile``, ``Dockerfile.gpu``, ``gpu.Dockerfile``."""
    name = Path(path)
    return bool(_NAME.fullmatch(name.name)) and name.suffix not in _NEVER


def dockerfiles_of(file: ModalFile) -> Iterator[Path]:
    """Yield the Dockerfiles that a file builds images from and that are there.

    Modal reads a relative path from where the command runs, which most often is the folder of the file
    or one above it.
    """
    folder = Path(file.source.path).resolve().parent
    for name, call in file.calls:
        if name != "modal.Image.from_dockerfile":
            continue
        given = [*call.args[:1], *(one.value for one in call.keywords if one.arg == "path")]
        path = read_path(file, given[0]) if given else None
        bases = [folder, Path.cwd(), *folder.parents[:_MOST_ABOVE]] if path is not None else []
        found = next((base / path for base in bases if path and is_file(base / path)), None)
        if found is not None:
            yield found


def read_dockerfile(path: str) -> Dockerfile:
    """Read a Dockerfile.

    Raises:
        UnreadableError: It cannot be read, is too large, or is no text.
    """
    source = SourceFile(path, read_text(path), ast.Module([], []))
    return Dockerfile(source, tuple(_instructions(source.lines)))


def _instructions(lines: list[str]) -> Iterator[Instruction]:
    found = _ESCAPE.match(lines[0]) if lines else None
    escape = found["char"] if found else "\\"
    number = 0
    while number < len(lines):
        match = _WORD.match(lines[number])
        if match is None:
            number += 1
            continue
        held, number = _joined(lines, number, match.end(), escape)
        text = " ".join(piece for piece, _, _ in held)
        yield Instruction(match["word"].upper(), text, tuple(_places(held)))


_Piece = tuple[str, int, int]  # a line's text, its number and its first column, counted from 1


def _joined(lines: list[str], number: int, start: int, escape: str) -> tuple[list[_Piece], int]:
    """The lines of one instruction, and the number of the line behind it."""
    held: list[_Piece] = []
    goes_on = True
    while goes_on and number < len(lines):
        line = lines[number]
        if not held or not line.lstrip().startswith("#"):  # comments may stand between
            goes_on = line.rstrip().endswith(escape)
            text = line.rstrip()[:-1] if goes_on else line
            held.append((text[start:], number + 1, start + 1))
        start, number = 0, number + 1
    ends = [one["end"] for piece, _, _ in held for one in _HEREDOC.finditer(piece)]
    for end in ends:
        while number < len(lines) and lines[number].strip() != end:
            held.append((lines[number], number + 1, 1))
            number += 1
        number += 1
    return held, number


def _places(held: list[_Piece]) -> Iterator[tuple[int, int, int]]:
    at = 0
    for text, line, column in held:
        yield at, line, column
        at += len(text) + 1
