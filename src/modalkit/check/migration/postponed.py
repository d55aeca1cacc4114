"""``from __future__ import annotations``, under which Modal cannot read the types of parameters."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from ..declared import ModalFile
from ..findings import Edit
from .draft import Draft

__all__ = ["evaluated_annotations"]


def evaluated_annotations(file: ModalFile) -> list[Edit] | None:
    """Return what lets annotations be types and not texts; None where one of them needs to be a text."""
    found = [
        node
        for node in file.nodes.of(ast.ImportFrom)
        if node.module == "__future__" and any(one.name == "annotations" for one in node.names)
    ]
    if not found:
        return []
    node = found[0]
    if len(node.names) > 1 or not all(_is_known(file, one) for one in _annotated_names(file)):
        return None
    return [Draft(file).remove_statement(node)]


def _annotated_names(file: ModalFile) -> Iterator[ast.Name]:
    """The names in annotations that are evaluated: those of local variables never are."""
    annotations = [one.annotation for one in file.nodes.of(ast.arg)]
    annotations += [one.returns for one in file.nodes.functions]
    for variable in file.nodes.of(ast.AnnAssign):
        if isinstance(file.nodes.scope(variable), ast.Module | ast.ClassDef):
            annotations.append(variable.annotation)
    for annotation in annotations:
        for node in ast.walk(annotation) if annotation is not None else ():
            if isinstance(node, ast.Name):
                yield node


def _is_known(file: ModalFile, name: ast.Name) -> bool:
    """Whether a name has its value, for sure, when its annotation is evaluated."""
    scope = file.names.binder(name, name.id)
    if scope is None:
        return hasattr(builtins, name.id)
    return scope is file.nodes.tree and any(
        _binds(node, name.id) and (node.end_lineno or 0) < name.lineno
        for node in file.nodes.tree.body
    )


def _binds(node: ast.stmt, name: str) -> bool:
    """Whether a statement at the top of the file gives a name its value."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return any((one.asname or one.name.split(".")[0]) == name for one in node.names)
    if isinstance(node, ast.ClassDef):
        return node.name == name
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(one, ast.Name) and one.id == name for one in targets)
