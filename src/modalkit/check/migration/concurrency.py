"""MK804: ``allow_concurrent_inputs``, which became a decorator."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..declared import ModalFile, Unit
from ..findings import Edit
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .old_code import Keyword, app_calls, keywords, outdated
from .spelling import spell

__all__ = ["concurrent_inputs", "decorator_line"]

_OLD = "allow_concurrent_inputs"


@rule(
    "MK804",
    "concurrent-inputs",
    "error",
    why="Modal refuses the keyword when the file is imported.",
)
def concurrent_inputs(file: ModalFile) -> Iterator[Problem]:
    """Concurrent inputs asked for with a keyword."""
    decorated: dict[ast.AST, tuple[Keyword, list[Unit]]] = {}
    seen: set[ast.AST] = set()
    units = {unit.registered.node: unit for unit in file.units}
    for name, call in app_calls(file):
        keyword = next((one for one in keywords(file, call) if one.name == _OLD), None)
        if keyword is None:
            continue
        if name.endswith("with_options"):
            yield _with_options(file, call, keyword)
        elif call in units:
            decorated.setdefault(keyword.key, (keyword, []))[1].append(units[call])
        elif name.startswith("modal.App()") and keyword.key not in seen:
            seen.add(keyword.key)
            yield _applied(file, call, keyword)
    for key, (keyword, mine) in decorated.items():
        if key not in seen:
            yield _decorated(file, keyword, mine)


def _decorated(file: ModalFile, keyword: Keyword, units: list[Unit]) -> Problem:
    known, draft = change("allow-concurrent-inputs"), Draft(file)
    value = draft.of(keyword.value)
    removed = _removed(draft, keyword)
    if value == "None":
        return outdated(known, keyword.key, "Nothing: remove it.", removed)
    spelled = spell(file, "concurrent")
    words = f"Write @modal.concurrent(max_inputs={value}) below the decorator of the app."
    already = any(one.qualname == "modal.concurrent" for unit in units for one in unit.decorators)
    movable = isinstance(keyword.value, ast.Constant | ast.Name) or not keyword.is_spread
    if spelled is None or already or not movable:
        return outdated(known, keyword.key, words)
    line = f"@{spelled.text}(max_inputs={value})"
    added = [decorator_line(draft, unit.registered.node, line) for unit in units]
    return outdated(known, keyword.key, words, [*removed, *added, *spelled.edits])


def _applied(file: ModalFile, call: ast.Call, keyword: Keyword) -> Problem:
    """``app.function(...)(f)``: the decorator goes around what is registered."""
    known, draft = change("allow-concurrent-inputs"), Draft(file)
    text = f"concurrent(max_inputs={draft.of(keyword.value)})"
    outer, spelled = file.nodes.parent(call), spell(file, "concurrent")
    words = f"Write modal.{text} around what is registered."
    registers = isinstance(outer, ast.Call) and outer.func is call and len(outer.args) == 1
    if not registers or spelled is None or keyword.is_spread or not isinstance(outer, ast.Call):
        return outdated(known, keyword.key, words)
    wrapper = spelled.text.removesuffix("concurrent") + text
    registered = outer.args[0]
    edits = [
        *draft.remove_argument(call, keyword.key),
        draft.insert(draft.start(registered), f"{wrapper}("),
        draft.insert(draft.end(registered), ")"),
        *spelled.edits,
    ]
    return outdated(known, keyword.key, words, edits)


def decorator_line(draft: Draft, above: ast.expr, line: str) -> Edit:
    """Insert a decorator below another one."""
    end = draft.line_end(draft.end(above))
    return draft.insert(end, f"\n{draft.indent(draft.start(above))}{line}")


def _removed(draft: Draft, keyword: Keyword) -> list[Edit]:
    if isinstance(keyword.holder, ast.Call):
        return draft.remove_argument(keyword.holder, keyword.key)
    return draft.remove_entry(keyword.holder, keyword.key)


def _with_options(file: ModalFile, call: ast.Call, keyword: Keyword) -> Problem:
    known, draft = change("with-options-concurrency"), Draft(file)
    value = draft.of(keyword.value)
    words = f"Write .with_concurrency(max_inputs={value}) behind it."
    if keyword.is_spread or not isinstance(call.func, ast.Attribute):
        return outdated(known, keyword.key, words)
    added = f".with_concurrency(max_inputs={value})"
    if len(call.keywords) == 1 and not call.args:
        owner = call.func.value
        return outdated(
            known, keyword.key, words, [draft.edit(draft.end(owner), draft.end(call), added)]
        )
    edits = [*draft.remove_argument(call, keyword.key), draft.insert(draft.end(call), added)]
    return outdated(known, keyword.key, words, edits)
