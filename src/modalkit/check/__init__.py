"""Every expensive mistake of a file, found before the deploy, with its place and its cure.

A rule is one function over what a file declares (`declared.ModalFile`) or over the plan of a
service; `rule` holds its code and words, `runner` runs all of them, `ignores` and `config` say which
findings count.
"""

from __future__ import annotations

from .findings import Edit, Finding, Fix, Severity
from .rule import Problem, Rule, all_rules, find_rule, rule
from .runner import CheckReport, check_paths

__all__ = [
    "CheckReport",
    "Edit",
    "Finding",
    "Fix",
    "Problem",
    "Rule",
    "Severity",
    "all_rules",
    "check_paths",
    "find_rule",
    "rule",
]
