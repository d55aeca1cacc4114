"""MK804: ``allow_concurrent_inputs``, which became a decorator."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..declared import ModalFile
from ..findings import Edit
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .keywords import Keyword, keywords, removed
from .old_code import app_calls, outdated
from .spelling import spell

__all__ = ["concurrent_inputs", "decorator_line"]

_OLD = "allow_concurrent_inputs"
_SEVERAL = (
    "Write @modal.concurrent(max_inputs=...) below the decorator of the app, with the last of them."
)


@rule(
    "MK804",
    "concurrent-inputs",
    "error",
    why="Modal refuses the keyword when the file is imported.",
)
def concurrent_inputs(file: ModalFile) -> Iterator[Problem]:
    """Concurrent inputs asked for with a keyword."""
    placed: dict[ast.AST, tuple[Keyword, ast.Call, list[ast.expr]]] = {}
    rivals: set[ast.AST] = set()  # of one call, which has the value of the last of them
    for name, call in app_calls(file):
        found = [one for one in keywords(file, call) if one.name == _OLD]
        rivals |= {one.key for one in found} if len(found) > 1 else set()
        for keyword in found:
            if name.endswith("with_options"):
                yield _with_options(file, call, keyword)
            elif name.startswith("modal.App()"):
                _, _, decorators = placed.setdefault(keyword.key, (keyword, call, []))
                decorators += _decorators(file, call, keyword)
    for keyword, call, decorators in placed.values():
        if keyword.key in rivals:
            yield outdated(change("allow-concurrent-inputs"), keyword.key, _SEVERAL)
        elif decorators:
            yield _decorated(file, keyword, decorators)
        else:
            yield _applied(file, call, keyword)


def _decorators(file: ModalFile, call: ast.Call, keyword: Keyword) -> list[ast.expr]:
    """The decorators by which a call of ``app.function`` reaches what it registers.

    It is one itself, the options come out of one (``@on_gpu(...)``, whose function registers), or it is
    a ``functools.partial`` that decorates under its own name.
    """
    written = [call, keyword.holder]
    if found := [one for one in written if isinstance(one, ast.Call) and _decorates(file, one)]:
        return list(found[:1])
    statement = file.nodes.parent(call)
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    if not isinstance(target, ast.Name):
        return []
    mine = file.names.bindings(target)[1]
    uses = [one for one in file.nodes.of(ast.Name) if one.id == target.id and one is not target]
    uses = [one for one in uses if file.names.bindings(one)[1] == mine]
    calls = [file.nodes.parent(one) for one in uses]
    decorators = [one for one in calls if isinstance(one, ast.Call) and _decorates(file, one)]
    return list(decorators) if len(decorators) == len(uses) else []


def _decorates(file: ModalFile, node: ast.expr) -> bool:
    return node in getattr(file.nodes.parent(node), "decorator_list", [])


def _decorated(file: ModalFile, keyword: Keyword, decorators: list[ast.expr]) -> Problem:
    known, draft = change("allow-concurrent-inputs"), Draft(file)
    value = draft.of(keyword.value)
    without = removed(draft, keyword)
    if value == "None":
        return outdated(known, keyword.key, "Nothing: remove it.", without)
    spelled = spell(file, "concurrent")
    words = f"Write @modal.concurrent(max_inputs={value}) below the decorator of the app."
    alike = isinstance(keyword.value, ast.Constant | ast.Name) and keyword.sure
    alike = alike and all(file.names.means_same(keyword.value, one) for one in decorators)
    movable = alike or keyword.holder in decorators
    already = any(_is_concurrent(file, one) for one in decorators)
    if spelled is None or already or not movable or not without:
        return outdated(known, keyword.key, words)
    line = f"@{spelled.text}(max_inputs={value}){draft.comment_behind(keyword.key)}"
    added = [decorator_line(draft, one, line) for one in decorators]
    return outdated(known, keyword.key, words, [*without, *added, *spelled.edits])


def _is_concurrent(file: ModalFile, decorator: ast.expr) -> bool:
    """Whether what a decorator is on has ``@modal.concurrent`` already."""
    decorators: list[ast.expr] = getattr(file.nodes.parent(decorator), "decorator_list", [])
    called = (one.func if isinstance(one, ast.Call) else one for one in decorators)
    return any(file.names.qualname(one) == "modal.concurrent" for one in called)


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
