"""Findings for machines: JSON, SARIF 2.1.0, and the annotations of GitHub Actions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import PurePath

from .findings import Finding, Severity
from .rule import all_rules
from .runner import CheckReport

__all__ = ["as_github", "as_json", "as_sarif"]

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
    span = finding.span
    region = {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
        "snippet": {"text": finding.source_line},
    }
    place = {"uri": PurePath(finding.path).as_posix()}
    return {
        "ruleId": finding.code,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message} {finding.why} Write: {finding.instead}"},
        "locations": [{"physicalLocation": {"artifactLocation": place, "region": region}}],
    }


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
