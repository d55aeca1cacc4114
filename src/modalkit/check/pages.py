"""A page for each rule, in Markdown and for the terminal, from the rule's own words and examples."""

from __future__ import annotations

from .examples import example_of
from .findings import Severity
from .rule import GROUPS, Rule, all_rules

__all__ = ["index_page", "listing", "rule_page", "rule_text"]

_MADE = "<!-- Written by scripts/write_check_pages.py from the rule; change the rule. -->"
_FAILS = {
    Severity.ERROR: "fails a check",
    Severity.WARNING: "fails a check unless `--fail-on error`",
    Severity.NOTE: "does not fail a check",
}
_READS = {
    "file": "the file's syntax tree; nothing is executed",
    "plan": "the plan of a modalkit service, for which the file is imported; not with `--static`",
    "check": "the file itself and its comments",
}


def rule_page(rule: Rule) -> str:
    """Return a rule's page in Markdown."""
    lines = [
        f"# {rule.code} {rule.name}",
        "",
        _MADE,
        "",
        f"*{rule.severity}, {_FAILS[rule.severity]} · {rule.group} · reads {_READS[rule.reads]}*",
        "",
        rule.summary,
        "",
        f"**Why it matters.** {rule.why}",
        "",
    ]
    example = example_of(rule)
    if example is not None:
        lines += [example.text, ""] if example.text else []
        lines += ["Found in:", "", "```python", example.failing.rstrip("\n"), "```", ""]
        lines += ["Not in:", "", "```python", example.passing.rstrip("\n"), "```", ""]
    lines += [f"To keep it on one line: `# modalkit: ignore[{rule.code}] reason`.", ""]
    return "\n".join(lines)


def rule_text(rule: Rule) -> str:
    """Return what ``--explain`` prints."""
    lines = [
        f"{rule.code} {rule.name} ({rule.severity}, {rule.group})",
        "",
        rule.summary,
        rule.why,
    ]
    example = example_of(rule)
    if example is not None:
        lines += ["", example.text] if example.text else []
        lines += ["", "Found in:", "", _indented(example.failing)]
        lines += ["", "Not in:", "", _indented(example.passing)]
    lines += ["", f"To keep it on one line: # modalkit: ignore[{rule.code}] reason"]
    return "\n".join(lines)


def _indented(code: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in code.rstrip("\n").split("\n"))


def listing() -> str:
    """Return every rule on a line of its own, by group."""
    lines: list[str] = []
    for start, title in GROUPS.items():
        rules = [rule for rule in all_rules() if rule.code.startswith(start)]
        if rules:
            lines += ["", title]
            lines += [
                f"  {one.code}  {one.severity:<8} {one.name:<28} {one.summary}" for one in rules
            ]
    return "\n".join(lines).lstrip("\n")


def index_page() -> str:
    """Return the table of all rules in Markdown."""
    lines = ["# The rules of `modalkit check`", "", _MADE, ""]
    for start, title in GROUPS.items():
        rules = [rule for rule in all_rules() if rule.code.startswith(start)]
        if not rules:
            continue
        lines += [
            f"## {start}xx {title}",
            "",
            "| code | name | severity | finds |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| [{one.code}]({one.code}.md) | {one.name} | {one.severity} | {one.summary} |"
            for one in rules
        ]
        lines.append("")
    return "\n".join(lines)
