"""``from __future__ import annotations``, under which Modal cannot read the types of parameters."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator

from ..declared import ModalFile
from ..findings import Edit
from .draft import Draft

__all__ = ["evaluated_annotations"]

_TAKE_PARAMETERS = {"dict", "frozenset", "list", "set", "tuple", "type"}
_LIBRARIES = {*sys.stdlib_module_names, "jaxtyping", "numpy", "typing_extensions"}  # `Queue[int]`


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
    if len(node.names) > 1 or not all(
        _is_evaluable(file, part) for one in _annotations(file) for part in ast.walk(one)
    ):
        return None
    return [Draft(file).remove_statement(node)]


def _annotations(file: ModalFile) -> Iterator[ast.expr]:
    """The annotations that are evaluated: those of local variables never are."""
    annotations = [one.annotation for one in file.nodes.of(ast.arg)]
    annotations += [one.returns for one in file.nodes.functions]
    for variable in file.nodes.of(ast.AnnAssign):
        if isinstance(file.nodes.scope(variable), ast.Module | ast.ClassDef):
            annotations.append(variable.annotation)
    yield from (one for one in annotations if one is not None)


def _is_evaluable(file: ModalFile, part: ast.AST) -> bool:
    """Whether a part of an annotation has a value, given that the parts inside it have."""
    if isinstance(part, ast.Name):
        return _is_known(file, part)
    if isinstance(part, ast.Attribute):
        return not isinstance(part.value, ast.Attribute) or _is_imported(file, part.value)
    if isinstance(part, ast.BinOp):
        return _may_be_joined(file, part.left) and _may_be_joined(file, part.right)
    if isinstance(part, ast.Subscript):
        name = file.names.qualname(part.value)
        return name in _TAKE_PARAMETERS or name.partition(".")[0] in _LIBRARIES
    return True


def _is_known(file: ModalFile, name: ast.Name) -> bool:
    """Whether a name has its value, for sure, when its annotation is evaluated."""
    scope = file.names.binder(name, name.id)
    if scope is None:
        return isinstance(getattr(builtins, name.id, None), type)
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


def _is_imported(file: ModalFile, module: ast.Attribute) -> bool:
    """Whether ``PIL.Image`` is there by an import of its own: ``import PIL`` alone may not bring it."""
    wanted = file.names.qualname(module)
    before = [one for one in file.nodes.tree.body if (one.end_lineno or 0) < module.lineno]
    modules = [one.name for node in before if isinstance(node, ast.Import) for one in node.names]
    for node in before:
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules += [f"{node.module}.{one.name}" for one in node.names]
    return bool(wanted) and any(f"{one}.".startswith(f"{wanted}.") for one in modules)


def _may_be_joined(file: ModalFile, side: ast.expr) -> bool:
    """Whether a side of ``A | B`` is a type, and no text and no function."""
    if isinstance(side, ast.Constant):
        return side.value is None
    if not isinstance(side, ast.Name | ast.Attribute):
        return isinstance(side, ast.Subscript | ast.BinOp)  # which are looked at by themselves
    name = file.names.qualname(side)
    if isinstance(side, ast.Name):
        scope, bindings = file.names.bindings(side)
        if scope is None or bindings:
            return all(isinstance(one.at, ast.ClassDef) for one in bindings)
    # What another file calls as classes are called; the standard library has `date` too.
    last = name.rpartition(".")[2]
    return (
        last[:1].isupper() or last == "ndarray" or name.partition(".")[0] in sys.stdlib_module_names
    )
