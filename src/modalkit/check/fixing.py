"""Rewrite what a check found: round after round, until nothing is left that can be.

A fix is a list of replaced spans, so what no fix means stays byte for byte as it was. After each
round the file is read and checked again: a fix never works on what another one has just changed, and
the last round, which finds nothing to rewrite, is what a second run would be.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import shlex
import tokenize
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE

from .._writing import write_whole
from ..errors import DeclarationError
from .dockerfiles import is_dockerfile
from .files import find_files
from .findings import Edit, Finding
from .layout import Formatter, line_limit
from .runner import check_source
from .settings import Settings
from .source import SourceFile, UnreadableError, parse_source, read_data, read_source

__all__ = ["Fixed", "Original", "apply_edits", "fix_file", "fix_paths", "fix_text", "read_original"]

_MOST_ROUNDS = 60
_WRITABLE = 0o222  # a new file takes the place of the old one, which its folder alone would allow
_LINE = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Fixed:
    """A file after its fixes.

    Attributes:
        before: Its text as it was.
        text: Its text now.
        applied: What was cured, in the order it was.
        left: What is still found.
    """

    before: str
    text: str
    applied: tuple[Finding, ...]
    left: tuple[Finding, ...]

    @property
    def unsafe(self) -> int:
        """How many of those that are left have a fix that must be asked for."""
        return sum(one.fix is not None and not one.fix.safe for one in self.left)

    def diff(self, path: str) -> str:
        """Return what changed, as ``diff -u`` writes it; empty when nothing did."""
        old, new = (
            _LINE.sub("\n", text).splitlines(keepends=True) for text in (self.before, self.text)
        )
        lines = difflib.unified_diff(old, new, f"a/{path}", f"b/{path}")
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        )


@dataclass(frozen=True, slots=True)
class Original:
    """A file as it is on disk: its text with its own line endings, and its encoding."""

    text: str
    encoding: str


def read_original(path: Path) -> Original:
    """Read a file so that it can be written back as it was.

    Raises:
        UnreadableError: It cannot be read as the text it says it is.
    """
    try:
        data = read_data(path)
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return Original(data.decode(encoding), encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        msg = f"The file cannot be read: {error}."
        raise UnreadableError(msg, "Name a text file that can be.") from None


def fix_file(
    path: Path, settings: Settings | None = None, *, unsafe: bool = False, write: bool = True
) -> Fixed:
    """Fix one file.

    Args:
        path: The file; it keeps its encoding and its line endings.
        settings: What to look for; everything unless given.
        unsafe: Also apply fixes after which the program may mean something else.
        write: Write the result.

    Raises:
        UnreadableError: It cannot be read, or is no Python.
        DeclarationError: It cannot be written; it is as it was then.
    """
    original = read_original(path)
    fixed = fix_text(str(path), original.text, settings, unsafe=unsafe)
    if write and fixed.text != fixed.before:
        _write(path, fixed.text.encode(original.encoding))
    return fixed


def _write(path: Path, data: bytes) -> None:
    try:
        mode = S_IMODE(path.stat().st_mode)
        if not mode & _WRITABLE or not os.access(path, os.W_OK):
            msg = (
                f"The fixed {str(path)!r} is not written: the file is read-only (mode {mode:04o}). It is as it was,"
                " and files before it in the order of their names are fixed: make it writable"
                f" (chmod u+w {shlex.quote(str(path))}), or leave it out, and fix again."
            )
            raise DeclarationError(msg)
        write_whole(path, data, mode)
    except OSError as error:
        msg = (
            f"The fixed {str(path)!r} cannot be written: {error.strerror}. It is as it was, and files before it"
            " in the order of their names are fixed: make room, or the folder writable, and fix again."
        )
        raise DeclarationError(msg) from None


def fix_text(
    path: str, text: str, settings: Settings | None = None, *, unsafe: bool = False
) -> Fixed:
    """Apply every fix to the text of a file.

    Raises:
        UnreadableError: It is no Python that this interpreter reads.
    """
    before, applied, refused = text, [], set()
    findings = _findings(path, text, settings)
    for _ in range(_MOST_ROUNDS):
        chosen = _next([one for one in findings if _key(one) not in refused], unsafe=unsafe)
        if not chosen:
            break
        after, done = _applied(path, text, chosen)
        refused |= {_key(one) for one in chosen if one not in done}
        if after is not None:
            text = after
            applied += done
        findings = _findings(path, text, settings)
    return Fixed(before, text, tuple(applied), tuple(findings))


def _parse(path: str, text: str) -> SourceFile:
    return parse_source(path, _LINE.sub("\n", text))


def _findings(path: str, text: str, settings: Settings | None) -> list[Finding]:
    return sorted(check_source(_parse(path, text), settings), key=lambda one: one.sort_key)


def _key(finding: Finding) -> tuple[str, str, str]:
    return (finding.code, finding.message, finding.source_line)


def _next(findings: Sequence[Finding], *, unsafe: bool) -> list[Finding]:
    """The fixes of one round: all of one rule that do not touch each other."""
    able = [one for one in findings if one.fix is not None and (one.fix.safe or unsafe)]
    code = min((one.code for one in able), default="")
    chosen: list[Finding] = []
    taken: list[Edit] = []
    for one in able:
        edits = one.fix.edits if one.fix is not None else ()
        if one.code == code and not any(_touch(mine, other) for mine in edits for other in taken):
            chosen.append(one)
            taken += edits
    return chosen


def _touch(one: Edit, other: Edit) -> bool:
    """Whether two edits share a character, or a place to insert at."""
    first, second = sorted((one.span, other.span))
    start, end = (second.line, second.column), (first.end_line, first.end_column)
    return start < end or start == (first.line, first.column)


def _applied(path: str, text: str, chosen: list[Finding]) -> tuple[str | None, list[Finding]]:
    """The text after some fixes, and which of them were applied: each leaves Python behind."""
    fixes = [one.fix for one in chosen if one.fix is not None]
    together = [edit for fix in fixes for edit in fix.edits]
    if (after := _edited(path, text, together)) is not None:
        return after, chosen
    for finding, fix in zip(chosen, fixes, strict=True):
        if (after := _edited(path, text, fix.edits)) is not None:
            return after, [finding]
    return None, []


def _edited(path: str, text: str, edits: Sequence[Edit]) -> str | None:
    """The text after edits, laid out as it was; None where it is the same, or no Python."""
    after = apply_edits(text, edits)
    if after == text or not _is_python(path, after):
        return None
    endings = set(_LINE.findall(text))
    if len(endings) != 1:
        return after
    formatter, newline = Formatter(line_limit(path)), endings.pop()
    plain = formatter.after(_LINE.sub("\n", text), _LINE.sub("\n", after), edits)
    return plain.replace("\n", newline)


def _is_python(path: str, text: str) -> bool:
    try:
        _parse(path, text)
    except UnreadableError:
        return False
    return True


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Apply edits that do not overlap; inserted lines end as the file's own do."""
    starts = [0, *(match.end() for match in _LINE.finditer(text))]
    first = _LINE.search(text)
    newline = first.group() if first else "\n"
    pieces, done = [], 0
    for edit in sorted(edits, key=lambda one: one.span):
        span = edit.span
        start = starts[span.line - 1] + span.column - 1
        pieces += [text[done:start], edit.text.replace("\n", newline)]
        # An end at the first column of a line is behind the line before it, whatever that ends with.
        done = starts[span.end_line - 1] + span.end_column - 1
    return "".join([*pieces, text[done:]])


def fix_paths(
    paths: Sequence[str], settings: Settings, *, unsafe: bool = False, write: bool = True
) -> dict[str, Fixed]:
    """Fix files and the files of folders; those that cannot be read stay as they are.

    Returns:
        What became of each file that a fix was for, by its path.

    Raises:
        DeclarationError: A path that is not there.
    """
    changed: dict[str, Fixed] = {}
    for candidate in find_files(paths, settings):
        path = Path(candidate.path)
        if is_dockerfile(path):
            continue  # no rule over them has a rewrite
        try:
            if not candidate.named and read_source(path, only_modal=True) is None:
                continue
            fixed = fix_file(path, settings, unsafe=unsafe, write=write)
        except UnreadableError:
            continue  # the check says what is wrong with it
        if fixed.applied:
            changed[candidate.path] = fixed
    return changed
