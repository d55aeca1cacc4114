"""MK9xx: files that cannot be checked, and comments that silence nothing. `runner` finds them."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from ..findings import Severity
from ..ignores import Ignore
from ..rule import Problem, Rule, all_rules, find_rule, register_rule
from ..settings import Settings

__all__ = [
    "IGNORE_NAMES_NOTHING",
    "IGNORE_WITHOUT_REASON",
    "RULE_FAILED",
    "SYNTAX",
    "UNREADABLE",
    "UNUSED_IGNORE",
    "ignore_problems",
]

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
IGNORE_WITHOUT_REASON = register_rule(
    Rule(
        "MK913",
        "ignore-without-reason",
        Severity.WARNING,
        "Nobody can tell later whether it still holds.",
        reads="check",
        summary="An ignore comment that does not say why.",
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


def ignore_problems(ignore: Ignore, settings: Settings) -> Iterator[tuple[Rule, Problem]]:
    """Yield what is wrong with an ignore comment, after every finding has been held against it."""
    for word in ignore.unknown:
        message = f"{word!r} is no rule's code or name.{_nearest(word)}"
        yield IGNORE_NAMES_NOTHING, Problem(ignore.span, message, "Name the rule of the finding.")
    if not ignore.codes and not ignore.unknown:
        cure = "Write # modalkit: ignore[MK101] and the reason."
        yield IGNORE_NAMES_NOTHING, Problem(ignore.span, "The comment names no rule.", cure)
    unused = [code for code in ignore.codes if code not in ignore.used and _ran(code, settings)]
    if unused:
        message = f"{', '.join(unused)} is not found here."
        yield UNUSED_IGNORE, Problem(ignore.span, message, "Remove it from the comment.")
    elif ignore.used and not ignore.reason:
        named = ", ".join(ignore.codes)
        message = f"{named} is silenced without a reason."
        cure = f"# modalkit: ignore[{named}] and why it is right here."
        yield IGNORE_WITHOUT_REASON, Problem(ignore.span, message, cure)


def _nearest(word: str) -> str:
    known = [name for one in all_rules() for name in (one.code, one.name)]
    near = get_close_matches(word, known, n=1) or get_close_matches(word.upper(), known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _ran(code: str, settings: Settings) -> bool:
    """Whether a rule was looked for, so that an ignore of it can be called unused."""
    rule = find_rule(code)
    return settings.wants(rule) and not (settings.static and rule.reads == "plan")
