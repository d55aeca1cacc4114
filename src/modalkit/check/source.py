"""A Python file as text and tree, read so that no file can stop a check.

Whatever is wrong with a file (its size, encoding, syntax, nesting) becomes one `UnreadableError`
with a place, never a crash: `runner` makes a finding of it.
"""

from __future__ import annotations

import ast
import codecs
import io
import sys
import tokenize
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from stat import S_ISREG

from .findings import Span
from .pythons import Written, written_for

__all__ = [
    "MOST_BYTES",
    "SourceFile",
    "UnreadableError",
    "parse_source",
    "read_data",
    "read_source",
    "read_text",
]

MOST_BYTES = 1_000_000  # a hand-written file is far below; parsing one takes about two seconds


class UnreadableError(Exception):
    """A file that cannot be checked; it never leaves `check`.

    Attributes:
        message: What is wrong with it.
        instead: What to do.
        span: Where.
        text: The file's text, as far as it could be read.
        is_syntax: Whether the file was read and is not this interpreter's Python.
    """

    def __init__(
        self,
        message: str,
        instead: str,
        *,
        span: Span | None = None,
        text: str = "",
        is_syntax: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.instead = instead
        self.span = span or Span(1, 1, 1, 1)
        self.text = text
        self.is_syntax = is_syntax


@dataclass(frozen=True)
class SourceFile:
    """One file.

    Attributes:
        path: As it was given or found.
        text: Its text, with every line ending as a newline.
        tree: Its syntax tree.
    """

    path: str
    text: str
    tree: ast.Module

    @cached_property
    def lines(self) -> list[str]:
        """Its lines as Python counts them, without their endings."""
        return self.text.split("\n")

    def line(self, number: int) -> str:
        """Return a line, counted from 1; empty outside the file."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def span(self, at: ast.AST | Span) -> Span:
        """Return where a node stands; one without a place stands at the top."""
        if isinstance(at, Span):
            return at
        line = getattr(at, "lineno", 1)
        end = getattr(at, "end_lineno", None) or line
        start_byte = getattr(at, "col_offset", 0)
        end_byte = getattr(at, "end_col_offset", None) or start_byte
        return Span(line, self._column(line, start_byte), end, self._column(end, end_byte))

    def segment(self, at: ast.AST | Span) -> str:
        """Return the text of a node or a span."""
        span = self.span(at)
        held = self.lines[span.line - 1 : span.end_line]
        if not held:
            return ""
        held[-1] = held[-1][: span.end_column - 1]
        held[0] = held[0][span.column - 1 :]
        return "\n".join(held)

    def _column(self, line: int, offset: int) -> int:
        """The tree counts bytes of UTF-8; people and editors count characters."""
        text = self.line(line)
        if text.isascii():
            return offset + 1
        return len(text.encode()[:offset].decode(errors="replace")) + 1


def read_source(path: str | Path, *, only_modal: bool = False) -> SourceFile | None:
    """Read and parse a file.

    Args:
        path: The file.
        only_modal: Return None for one in which the word modal does not occur, whatever it holds.

    Raises:
        UnreadableError: It cannot be read, is too large, or is not Python of this interpreter.
    """
    data = read_data(Path(path))
    if only_modal and b"modal" not in data and data[:2] not in _WIDE:
        return None
    return parse_source(str(path), _text(data))


def read_text(path: str | Path) -> str:
    """Read a file that is no Python, its line endings as newlines.

    Raises:
        UnreadableError: It cannot be read, is too large, or is no text.
    """
    return _text(read_data(Path(path)))


def parse_source(path: str, text: str) -> SourceFile:
    """Parse a text as the file of that name.

    Raises:
        UnreadableError: It is not Python of this interpreter, or nested too deeply.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in other people's strings
            tree = ast.parse(text, path)
    except SyntaxError as error:
        raise _not_python(error, text) from None
    except (RecursionError, MemoryError, OverflowError):
        msg = "The file is nested too deeply to be read."
        raise UnreadableError(msg, "Take the generated code out of it.", text=text) from None
    except ValueError as error:  # a null byte, before Python 3.12
        msg = f"The file is not Python: {error}."
        raise UnreadableError(msg, "Save it as UTF-8 text.", text=text) from None
    return SourceFile(path, text, tree)


_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # the word would not be found in these


def read_data(path: Path) -> bytes:
    """Read the bytes of a plain file that is not too large.

    Raises:
        UnreadableError: It cannot be read, is no plain file, or is too large.
    """
    try:
        status = path.stat()
        is_plain, size = S_ISREG(status.st_mode), status.st_size
        data = path.read_bytes() if is_plain and size <= MOST_BYTES else b""
    except OSError as error:
        msg = f"The file cannot be read: {error.strerror}."
        raise UnreadableError(msg, "Name a file that can be.") from None
    if not is_plain:
        msg = "This is no plain file."
        raise UnreadableError(msg, "Name a Python file.")
    if size > MOST_BYTES:
        msg = f"The file has {size:,} bytes, more than the {MOST_BYTES:,} that are read."
        raise UnreadableError(msg, "Keep data in files of their own, or exclude this one.")
    return data


def _text(data: bytes) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        msg = f"The file is not text in the encoding it declares: {_plain(error)}."
        raise UnreadableError(msg, "Save it as UTF-8.") from None
    if "\0" in text:
        msg = "The file has a null byte, so it is not Python text."
        raise UnreadableError(msg, "Save it as UTF-8 text.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _plain(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not {error.encoding}"
    return str(error).rstrip(".")


def _not_python(error: SyntaxError, text: str) -> UnreadableError:
    line, column = max(error.lineno or 1, 1), max(error.offset or 1, 1)
    lines = text.split("\n")
    written = written_for(lines[line - 1] if line <= len(lines) else "", error.msg)
    message, cure = _words(error.msg, written)
    span = Span(line, column, line, column + 1)
    return UnreadableError(message, cure, span=span, text=text, is_syntax=True)


def _words(said: str, written: Written | None) -> tuple[str, str]:
    """What is wrong, and what to do: the line is wrong, or the Python that reads it is another one."""
    if written is None:
        wrong = f"The file is not Python that this interpreter reads: {said}."
        cure = "Correct the line, or run the check with the Python version that the file is written for."
    elif written.is_newer:
        running = ".".join(map(str, sys.version_info[:2]))
        reads = f"Python {written.python} and later read"
        wrong = f"The line has {written.construct}, which {reads}, and the check runs on Python {running}."
        cure = f"Run modalkit check on Python {written.python} or later, which the containers need too."
    else:
        had = f"It has {written.construct}, as Python 2 had."
        wrong = f"The file is not Python that this interpreter reads: {said}. {had}"
        cure = "Rewrite it for Python 3: Modal has no Python 2."
    return wrong, cure
