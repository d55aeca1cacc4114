"""Findings for machines: JSON, SARIF 2.1.0, and the annotations of GitHub Actions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import PurePath
from urllib.parse import quote

from .examples import example_of
from .findings import Finding, Severity, Span
from .fixing import Fixed
from .rule import Rule, all_rules
from .runner import CheckReport

__all__ = ["as_github", "as_json", "as_sarif", "changes_as_json", "rules_as_json"]

_LEVELS: Mapping[Severity, str] = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.NOTE: "note",
}


def as_json(report: CheckReport) -> str:
    """Return the report as one JSON document; ``schema_version`` changes when a field does."""
    document = {
        "schema_version": 1,
        "modalkit": version("modalkit"),
        "files": report.files,
        "counts": {str(severity): report.count(severity) for severity in Severity},
        "findings": [one.as_json() for one in report.findings],
    }
    return json.dumps(document, indent=2)


def rules_as_json(rules: Sequence[Rule]) -> str:
    """Return the words and examples of rules as one JSON document."""
    document = {"schema_version": 1, "rules": [_explained(one) for one in rules]}
    return json.dumps(document, indent=2)


def _explained(rule: Rule) -> dict[str, object]:
    example = example_of(rule)
    return {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity,
        "group": rule.group,
        "reads": rule.reads,
        "summary": rule.summary,
        "why": rule.why,
        "text": example.text if example else "",
        "failing": example.failing if example else None,
        "passing": example.passing if example else None,
    }


def changes_as_json(changed: Mapping[str, Fixed], *, unsafe: bool) -> str:
    """Return what ``--fix`` would change as one JSON document, each file with its diff.

    Args:
        changed: What would become of each file, by its path.
        unsafe: Whether unsafe fixes were asked for.
    """
    files = [
        {
            "path": path,
            "diff": fixed.diff(path),
            "fixed": [_named(one) for one in fixed.applied],
            "unsafe_left": fixed.unsafe,
        }
        for path, fixed in changed.items()
    ]
    document = {
        "schema_version": 1,
        "modalkit": version("modalkit"),
        "unsafe_fixes": unsafe,
        "files": files,
    }
    return json.dumps(document, indent=2)


def _named(finding: Finding) -> dict[str, object]:
    says = finding.fix.says if finding.fix is not None else ""
    return {"code": finding.code, "name": finding.name, "message": finding.message, "says": says}


def as_sarif(report: CheckReport) -> str:
    """Return the report as SARIF 2.1.0, which code hosts show beside the lines."""
    found = {one.code for one in report.findings}
    rules = [
        {
            "id": rule.code,
            "name": rule.name,
            "shortDescription": {"text": rule.summary or rule.name},
            "fullDescription": {"text": rule.why},
            "help": {"text": rule.why},
            "defaultConfiguration": {"level": _LEVELS[rule.severity]},
            "properties": {"group": rule.group},
        }
        for rule in all_rules()
        if rule.code in found
    ]
    driver = {
        "name": "modalkit check",
        "semanticVersion": version("modalkit"),
        "rules": rules,
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(one) for one in report.findings],
    }
    schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2)


def _result(finding: Finding) -> dict[str, object]:
    region = {**_region(finding.span), "snippet": {"text": finding.source_line}}
    place = {"artifactLocation": {"uri": _uri(finding.path)}, "region": region}
    fix = _fix(finding)
    return {
        "ruleId": finding.code,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message} {finding.why} Write: {finding.instead}"},
        "locations": [{"physicalLocation": place}],
        **({"fixes": [fix]} if fix else {}),
    }


def _region(span: Span) -> dict[str, object]:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }


def _uri(path: str) -> str:
    """A path as an address: absolute ones with their scheme, every other sign than a path's own encoded."""
    plain = PurePath(path)
    return plain.as_uri() if plain.is_absolute() else quote(plain.as_posix(), safe="/,;=@&+$!*'()~")


def _fix(finding: Finding) -> dict[str, object] | None:
    """A safe rewrite; none that would write a masked key."""
    fix = finding.fix
    if fix is None or not fix.safe or any(one.shown not in {None, one.text} for one in fix.edits):
        return None
    replacements = [
        {"deletedRegion": _region(one.span), "insertedContent": {"text": one.text}}
        for one in fix.edits
    ]
    change = {"artifactLocation": {"uri": _uri(finding.path)}, "replacements": replacements}
    return {"description": {"text": fix.says}, "artifactChanges": [change]}


def as_github(report: CheckReport) -> str:
    """Return a workflow command a finding, which GitHub shows in the pull request's files."""
    return "\n".join(_annotation(one) for one in report.findings)


def _annotation(finding: Finding) -> str:
    level = "notice" if finding.severity is Severity.NOTE else str(finding.severity)
    span = finding.span
    ends = f",endLine={span.end_line}"
    if span.end_line == span.line:
        ends += f",endColumn={span.end_column}"
    title = _property(f"{finding.code} {finding.name}")
    text = _data(f"{finding.message}\n{finding.why}\nWrite: {finding.instead}")
    where = f"file={_property(finding.path)},line={span.line},col={span.column}{ends}"
    return f"::{level} {where},title={title}::{text}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
