"""What only the Modal of early 2023 had: ``modal.ref``, objects made without a name, methods that are functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..declared import ModalFile
from ..findings import Edit
from ..nodes import Function
from ..rule import Problem
from .changes import change
from .draft import Draft
from .keywords import keywords
from .old_code import outdated
from .spelling import spell

__all__ = ["function_methods", "reference", "setup_commands"]

_KINDS = {
    "secret": "Secret",
    "secrets": "Secret",
    "shared_volumes": "Volume",
    "network_file_systems": "Volume",
    "volumes": "Volume",
}


def reference(file: ModalFile, call: ast.Call) -> Problem:
    """``modal.ref("name")``, which stood for an object of any kind: where it is given tells which."""
    known, draft = change("ref"), Draft(file)
    kind = _kind(file, call)
    spelled = spell(file, kind) if kind else None
    if spelled is None or len(call.args) != 1 or call.keywords:
        return outdated(known, call)
    text = f"{spelled.text}.from_name"
    edits = [draft.replace(call.func, text), *spelled.edits]
    return outdated(known, call, f"Write {text}({draft.of(call.args[0])}).", edits)


def _kind(file: ModalFile, call: ast.Call) -> str | None:
    statement = file.nodes.parent(call)
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    if not isinstance(target, ast.Name):
        return _given_as(file, call)
    mine = file.names.bindings(target)[1]
    uses = [
        one
        for one in file.nodes.of(ast.Name)
        if one.id == target.id and one is not target and file.names.bindings(one)[1] == mine
    ]
    kinds = {_given_as(file, one) for one in uses}
    return kinds.pop() if len(kinds) == 1 else None


def _given_as(file: ModalFile, node: ast.expr) -> str | None:
    """The class of what a keyword takes, for the keyword in which an expression stands."""
    for above in file.nodes.ancestors(node):
        if isinstance(above, ast.keyword):
            return _KINDS.get(above.arg or "")
        if not isinstance(above, ast.List | ast.Tuple | ast.Dict | ast.Starred):
            return None
    return None


def setup_commands(file: ModalFile, name: str, call: ast.Call) -> Iterator[Problem]:
    """Shell commands of a registry image, which became lines of a Dockerfile."""
    if name not in {"modal.Image.from_dockerhub", "modal.Image.from_registry"}:
        return
    known, draft = change("setup-commands"), Draft(file)
    for keyword in keywords(file, call):
        if keyword.name != "setup_commands" or keyword.is_spread:
            continue
        listed = keyword.value.elts if isinstance(keyword.value, ast.List) else []
        sure = listed and all(isinstance(one, ast.Constant) for one in listed)
        edits = [draft.insert(draft.start(one) + 1, "RUN ") for one in listed if sure]
        if edits and isinstance(keyword.key, ast.keyword):
            edits.append(draft.rename(keyword.key, "setup_dockerfile_commands"))
        yield outdated(known, keyword.key, "", edits)


def function_methods(file: ModalFile) -> Iterator[Problem]:
    """``@stub.function`` on the methods of a plain class, before there was ``@stub.cls``."""
    for held in file.nodes.of(ast.ClassDef):
        found = [
            (method, one)
            for method in held.body
            if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
            for one in method.decorator_list
            if isinstance(one, ast.Call) and _registers(file, one)
        ]
        if found:
            yield _on_class(file, held, found)


def _registers(file: ModalFile, call: ast.Call) -> bool:
    return file.names.qualname(call.func) == "modal.App().function"


def _on_class(
    file: ModalFile, held: ast.ClassDef, found: list[tuple[Function, ast.Call]]
) -> Problem:
    known, draft = change("function-method"), Draft(file)
    spelled = spell(file, "method")
    first = found[0][1]
    options = {draft.of(one)[len(draft.of(one.func)) :] for _, one in found}
    alone = all(len(method.decorator_list) == 1 for method, _ in found)
    if spelled is None or held.decorator_list or len(options) != 1 or not alone:
        return outdated(known, first)
    assert isinstance(first.func, ast.Attribute)  # noqa: S101 - it has a dotted name
    line = draft.line_start(draft.start(held))
    indent = draft.indent(draft.start(held))
    lines = f"{indent}@{draft.of(first.func.value)}.cls{options.pop()}\n"
    edits: list[Edit] = [draft.insert(line, lines), *spelled.edits]
    edits += [draft.replace(one, f"{spelled.text}()") for _, one in found]
    return outdated(known, first, "", edits)
