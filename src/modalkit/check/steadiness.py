"""Whether a condition can turn out differently from one call of a container to the next."""

from __future__ import annotations

import ast

from .declared import ModalFile
from .nodes import Function

__all__ = ["is_steady"]

_SELF = {"self", "cls"}
_PLAIN = (
    ast.Name, ast.Attribute, ast.Constant, ast.Compare, ast.BoolOp, ast.UnaryOp,
    ast.boolop, ast.cmpop, ast.unaryop, ast.expr_context,
)  # fmt: skip
_AT_START = {"__init__", "load"}


def is_steady(file: ModalFile, test: ast.expr, function: Function) -> bool:
    """Return whether a condition asks only what is set before the first call, and changed by none.

    ``self.closed`` that a start method sets is steady; ``self.model`` that the method itself fills, a list
    that it adds to, an argument, and whatever a call answers are not.
    """
    nodes = list(ast.walk(test))
    if not all(isinstance(one, _PLAIN) for one in nodes):
        return False
    own = {id(one.value): one for one in nodes if isinstance(one, ast.Attribute)}
    names = [one for one in nodes if isinstance(one, ast.Name)]
    attributes = {own[id(one)].attr for one in names if id(one) in own}
    if any((one.id in _SELF) is not (id(one) in own) for one in names) or len(own) > len(names):
        return False  # an attribute of something else, or `self` alone
    kept = [one.id for one in names if one.id not in _SELF]
    if not attributes and not kept:
        return False
    return not _changes_globals(file, kept, function) and not _changes(file, attributes, function)


def _changes_globals(file: ModalFile, names: list[str], function: Function) -> bool:
    """Whether names are a function's own, or given anew by some function."""
    written = {name for one in file.nodes.of(ast.Global) for name in one.names}
    local = {one.id for one in file.within(function, ast.Name) if not isinstance(one.ctx, ast.Load)}
    arguments = {one.arg for one in file.within(function, ast.arg)}
    return any(name in written | local | arguments for name in names)


def _changes(file: ModalFile, attributes: set[str], function: Function) -> bool:
    """Whether a method that runs for a call gives one of these attributes anew, or something to it."""
    above = file.nodes.parent(function)
    if not attributes:
        return False
    if not isinstance(above, ast.ClassDef) or any(
        isinstance(one.func, ast.Name) and one.func.id == "setattr"
        for one in file.within(function, ast.Call)
    ):
        return True
    later = [
        one
        for one in above.body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_start(file, one)
    ]
    return any(
        node.attr in attributes and _is_written(file, node)
        for body in later
        for node in file.within(body, ast.Attribute)
    )


def _is_written(file: ModalFile, node: ast.Attribute) -> bool:
    """Whether an attribute is given a value, or something of it is used that may change it."""
    above = file.nodes.parent(node)
    reaches = isinstance(above, ast.Attribute | ast.Subscript) and above.value is node
    return not isinstance(node.ctx, ast.Load) or reaches


def _is_start(file: ModalFile, body: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return body.name in _AT_START or any(
        one.qualname == "modal.enter" for one in file.decorators(body)
    )
