"""Files of another Python: the finding says which one reads them."""

from __future__ import annotations

import sys

import pytest

from modalkit.check import check_paths
from modalkit.check.pythons import written_for
from modalkit.check.settings import Settings

NEWER = [
    ("type Row = dict[str, int]", "3.12"),
    ("def first[T](rows: list[T]) -> T: ...", "3.12"),
    ("class Box[T]: ...", "3.12"),
    ("async def first[T, *Ts](rows): ...", "3.12"),
    ('x = f"{row["name"]}"', "3.12"),
    ("class Box[T = int]: ...", "3.13"),
    ("def first[T: int = int](rows): ...", "3.13"),
    ('x = t"{name}"', "3.14"),
    ("except ValueError, modal.exception.Error:", "3.14"),
    ("lazy import torch", "3.15"),
    ("lazy from torch import nn", "3.15"),
]
OLDER = ['print "hello"', "exec 'x = 1'", "except ValueError, error:", "raise ValueError, 'no'"]
WRONG = [
    "def run(:", "x = = 1", "print(", 'x = "abc', "type = 3 4", "class A(:", "for x in y", "lazy = 1 2",
    "except ValueError as:", "x = f'{1 +}'", "types[0] = = 2", "<<<<<<< HEAD", "0123 apples",
]  # fmt: skip


@pytest.mark.parametrize(("line", "python"), NEWER)
def test_what_a_newer_python_added_is_named(line, python):
    """A line that Python 3.11 does not read is told the first Python that does."""
    found = written_for(line, "invalid syntax", (3, 11))
    assert found is not None
    assert found.is_newer
    assert found.python == python


@pytest.mark.parametrize(("line", "python"), NEWER)
def test_a_python_that_reads_the_construct_is_not_named(line, python):
    """Where the running Python has the construct, the line is wrong for another reason."""
    running = tuple(int(part) for part in python.split("."))
    assert written_for(line, "invalid syntax", running) is None


@pytest.mark.parametrize("line", OLDER)
def test_python_2_is_named(line):
    """Statements that only Python 2 had are told so."""
    found = written_for(line, "invalid syntax", (3, 11))
    assert found is not None
    assert found.python == "2"


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_is_only_wrong(line):
    """What no Python reads is not blamed on a version."""
    assert written_for(line, "invalid syntax", (3, 11)) is None


def test_the_parsers_words_count_too():
    """Some constructs are known by what the parser says of them."""
    said = "f-string expression part cannot include a backslash"
    assert written_for("x = f'{a}'", said, (3, 11)).python == "3.12"
    octal = "leading zeros in decimal integer literals are not permitted"
    assert written_for("os.chmod(path, 0755)", octal, (3, 11)).python == "2"


@pytest.mark.parametrize(
    ("line", "python"), [one for one in NEWER if not one[0].startswith("except")]
)
def test_a_file_of_a_newer_python_is_one_finding(tmp_path, line, python):
    """The check names both versions, does not crash, and reads the file where it can."""
    file = tmp_path / "a.py"
    file.write_text(f"import modal\n\n{line}\n")
    findings = check_paths([str(file)], Settings(static=True)).findings
    if sys.version_info[:2] >= tuple(int(part) for part in python.split(".")):
        assert findings == ()
        return
    (finding,) = findings
    assert (finding.code, finding.span.line) == ("MK901", 3)
    assert f"Python {python} and later read" in finding.message
    assert f"Run modalkit check on Python {python}" in finding.instead
