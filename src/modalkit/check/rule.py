"""A rule: one function, with the words of its findings. Its examples are in ``data/checks``.

Codes are grouped by hundreds: MK1xx GPUs and fit, MK2xx secrets, MK3xx images, MK4xx weights and
cold starts, MK5xx cost and limits, MK6xx endpoints, MK7xx schedules, MK8xx what Modal renamed or
removed, MK9xx the check itself.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import DeclarationError
from .findings import Fix, Severity, Span

if TYPE_CHECKING:
    from .declared import ModalFile

__all__ = [
    "GROUPS",
    "Problem",
    "Rule",
    "StaticRule",
    "all_rules",
    "find_rule",
    "register_rule",
    "rule",
]

GROUPS: Mapping[str, str] = {
    "MK1": "GPUs and fit",
    "MK2": "Secrets",
    "MK3": "Images",
    "MK4": "Weights and cold starts",
    "MK5": "Cost and limits",
    "MK6": "Endpoints",
    "MK7": "Schedules",
    "MK8": "What Modal renamed or removed",
    "MK9": "The check itself and the file",
}
# Each registers its rules when it is imported.
_MODULES = (
    "gpus",
    "fit",
    "capacity",
    "secrets",
    "exposure",
    "images",
    "sets",
    "imports",
    "loading",
    "weights",
    "volumes",
    "startup",
    "cost",
    "budget",
    "access",
    "blocking",
    "endpoints",
    "schedules",
    "plans",
    "itself",
    "migration",
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What a rule says of one place; the runner adds the rule's own words.

    Attributes:
        at: A node of the tree, or a span.
        message: What is wrong, with the value.
        instead: What to write instead.
        fix: A rewrite, where there is one.
    """

    at: ast.AST | Span
    message: str
    instead: str
    fix: Fix | None = None


StaticRule = Callable[["ModalFile"], Iterable[Problem]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule and its words.

    Attributes:
        code: ``MK`` and three digits.
        name: Its name for people.
        severity: How bad a finding of it is.
        why: Why it matters, in a sentence.
        find: The rule over a file's declarations; None where another part of the check finds it.
        reads: Where it looks: ``"file"``, ``"plan"`` (imports the file) or ``"check"``.
        summary: What it finds, in a line: the docstring of its function.
    """

    code: str
    name: str
    severity: Severity
    why: str
    find: StaticRule | None = field(default=None, compare=False)
    reads: str = "file"
    summary: str = ""

    @property
    def group(self) -> str:
        """What its hundred is about."""
        return GROUPS[self.code[:3]]


_rules: dict[str, Rule] = {}


def rule(code: str, name: str, severity: str, *, why: str) -> Callable[[StaticRule], StaticRule]:
    """Register the decorated function as a rule over a file's declarations.

    Args:
        code: ``MK`` and three digits; each once.
        name: Its name for people.
        severity: ``"error"``, ``"warning"`` or ``"note"``.
        why: Why it matters, in a sentence.
    """

    def register(find: StaticRule) -> StaticRule:
        summary = " ".join((find.__doc__ or "").split()).replace("``", "`")
        register_rule(Rule(code, name, Severity(severity), why, find, summary=summary))
        return find

    return register


def register_rule(made: Rule) -> Rule:
    """Add a rule to those that are run and explained.

    Raises:
        ValueError: A code that is taken.
    """
    if made.code in _rules:
        msg = f"{made.code} is both {_rules[made.code].name!r} and {made.name!r}."
        raise ValueError(msg)
    _rules[made.code] = made
    return made


@cache
def all_rules() -> tuple[Rule, ...]:
    """Return every rule, by code."""
    for module in _MODULES:
        import_module(f".rules.{module}", __package__)
    return tuple(_rules[code] for code in sorted(_rules))


def find_rule(asked: str) -> Rule:
    """Return a rule by its code or its name.

    Raises:
        DeclarationError: There is none; the message names the nearest.
    """
    known = {word: one for one in all_rules() for word in (one.code, one.name)}
    found = known.get(asked) or known.get(asked.upper()) or known.get(asked.lower())
    if found is None:
        near = get_close_matches(asked, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        msg = f"There is no rule {asked!r}.{hint} `modalkit check --explain all` lists them."
        raise DeclarationError(msg)
    return found
