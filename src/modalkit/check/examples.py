"""The smallest failing and the nearest passing file of each rule: ``data/checks/CODE.md``.

The same text makes the rule's page, its answer to ``--explain``, and its test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

from .rule import Rule

__all__ = ["Example", "example_of"]

_PARTS = re.compile(
    r"(?P<text>.*?)\n*fails:\n\n```python\n(?P<failing>.*?)```\n\npasses:\n\n```python\n(?P<passing>.*?)```\n*",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Example:
    """What a rule's page says besides its own words.

    Attributes:
        text: What is looked at, and what is left alone.
        failing: The smallest file that has the problem.
        passing: The nearest file that has not.
    """

    text: str
    failing: str
    passing: str


def example_of(rule: Rule) -> Example | None:
    """Return a rule's examples; None where no file alone can show it."""
    file = files("modalkit") / "data" / "checks" / f"{rule.code}.md"
    found = _PARTS.fullmatch(file.read_text("utf-8")) if file.is_file() else None
    return Example(found["text"].strip(), found["failing"], found["passing"]) if found else None
