"""Findings from plans: a process imports the file, and what it says is put beside the source.

The process is there so that no file can end, hang or change the check, and so that two files of the
same name do not meet.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from .declared import ModalFile
from .findings import Span
from .rule import Problem, Rule, all_rules
from .settings import Settings

__all__ = ["MOST_SECONDS", "plan_problems"]

MOST_SECONDS = 60  # for importing one file


def plan_problems(file: ModalFile, settings: Settings) -> Iterator[tuple[Rule, Problem]]:
    """Import the file in a process of its own and yield what the rules over plans say."""
    rules = {rule.code: rule for rule in all_rules() if rule.reads == "plan"}
    wanted = {code for code, rule in rules.items() if settings.wants(rule)}
    if not wanted or not Path(file.source.path).is_file():
        return  # a text that is no file has nothing to import
    for entry in _entries(file.source.path, settings.budget or ""):
        code = str(entry["code"])
        if code in wanted:
            problem = Problem(_place(file, entry), str(entry["message"]), str(entry["instead"]))
            yield rules[code], problem


def _entries(path: str, budget: str) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory(prefix="modalkit-check-") as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "modalkit.check.planning", path, str(result), budget]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=MOST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return [_unplanned(f"The import took longer than {MOST_SECONDS} s.")]
        if not result.exists():
            return [_unplanned(f"The import ended the process with status {done.returncode}.")]
        entries: list[dict[str, object]] = json.loads(result.read_text("utf-8"))
        return entries


def _unplanned(message: str) -> dict[str, object]:
    cure = "Move the work out of the top of the file, or leave these rules out with --static."
    return {
        "code": "MK921",
        "service": "",
        "field": "",
        "line": 1,
        "message": message,
        "instead": cure,
    }


def _place(file: ModalFile, entry: Mapping[str, object]) -> ast.AST | Span:
    """The declaration an entry is about: the field of the class, the class, or a line."""
    for node in file.nodes.of(ast.ClassDef):
        if node.name == entry["service"]:
            return _declaration(node, str(entry["field"])) or _head(file, node)
    line = int(str(entry.get("line", 1)))
    text = file.source.line(line)
    start = len(text) - len(text.lstrip()) + 1
    return Span(line, start, line, max(len(text.rstrip()) + 1, start))


def _declaration(node: ast.ClassDef, field: str) -> ast.AST | None:
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == field for target in targets):
            return statement
    return None


def _head(file: ModalFile, node: ast.ClassDef) -> Span:
    text = file.source.line(node.lineno)
    return Span(node.lineno, node.col_offset + 1, node.lineno, len(text.rstrip()) + 1)
