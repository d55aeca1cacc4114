"""MK9xx: files that cannot be checked, and comments that silence nothing. `runner` finds them."""

from __future__ import annotations

from ..findings import Severity
from ..rule import Rule, register_rule

__all__ = ["IGNORE_NAMES_NOTHING", "RULE_FAILED", "SYNTAX", "UNREADABLE", "UNUSED_IGNORE"]

SYNTAX = register_rule(
    Rule(
        "MK901",
        "syntax-error",
        Severity.ERROR,
        "Modal imports the file, so nothing of it runs.",
        reads="check",
        summary="A file that is not Python of this interpreter.",
    )
)
UNREADABLE = register_rule(
    Rule(
        "MK902",
        "unreadable-file",
        Severity.ERROR,
        "A file that cannot be read has not been checked.",
        reads="check",
        summary="A file that cannot be read: too large, not text in its encoding, nested too deeply.",
    )
)
UNUSED_IGNORE = register_rule(
    Rule(
        "MK911",
        "unused-ignore",
        Severity.WARNING,
        "It would hide the next problem of its kind on that line.",
        reads="check",
        summary="An ignore comment for something that is not found there.",
    )
)
IGNORE_NAMES_NOTHING = register_rule(
    Rule(
        "MK912",
        "ignore-without-code",
        Severity.WARNING,
        "It silences nothing: a comment that named no code would hide every other problem too.",
        reads="check",
        summary="An ignore comment that names no rule.",
    )
)
RULE_FAILED = register_rule(
    Rule(
        "MK990",
        "rule-failed",
        Severity.NOTE,
        "A rule could not read this file, so what it looks for has not been checked.",
        reads="check",
        summary="A rule that failed on a file.",
    )
)
