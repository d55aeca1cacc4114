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
# Where a name only stands to be asked; anywhere else, what it holds may be filled or handed on.
_ASKING = (
    ast.Compare, ast.BoolOp, ast.UnaryOp, ast.If, ast.IfExp, ast.While, ast.Assert, ast.FormattedValue,
)  # fmt: skip
_BY_TEXT = {"setattr", "globals", "vars"}  # write to names that are worked out
_HARMLESS_BASES = {"object", "abc", "typing", "modalkit"}  # classes that set nothing per call


def is_steady(file: ModalFile, test: ast.expr, function: Function) -> bool:
    """Return whether a condition asks only what is set before the first call, and changed by none.

    ``self.closed`` that a start method sets is steady; ``self.model`` that the method itself fills, a dict
    or list that something is put into, a property, an argument, and whatever a call answers are not.
    """
    nodes = list(ast.walk(test))
    if not all(isinstance(one, _PLAIN) for one in nodes) or _writes_by_text(file):
        return False
    own = {id(one.value): one for one in nodes if isinstance(one, ast.Attribute)}
    names = [one for one in nodes if isinstance(one, ast.Name)]
    attributes = {own[id(one)].attr for one in names if id(one) in own}
    if any((one.id in _SELF) is not (id(one) in own) for one in names) or len(own) > len(names):
        return False  # an attribute of something else, or `self` alone
    kept = [one for one in names if one.id not in _SELF]
    if not attributes and not kept:
        return False
    return all(_stays(file, one) for one in kept) and not _changes(file, attributes, function)


def _writes_by_text(file: ModalFile) -> bool:
    """Whether a file sets variables or attributes by names that are texts."""
    called = (one.func for one in file.nodes.of(ast.Call))
    by_text = any(isinstance(one, ast.Name) and one.id in _BY_TEXT for one in called)
    return by_text or any(one.attr == "__dict__" for one in file.nodes.of(ast.Attribute))


def _stays(file: ModalFile, name: ast.Name) -> bool:
    """Whether a name is the file's own, given by no function, and nothing is done with it but to ask."""
    scope, bindings = file.names.bindings(name)
    if scope is not file.nodes.tree or not bindings:
        return False  # a function's own, or another file's
    if any(name.id in one.names for one in file.nodes.of(ast.Global)):
        return False
    uses = [one for one in file.nodes.of(ast.Name) if one.id == name.id]
    return all(
        isinstance(file.nodes.parent(one), _ASKING) for one in uses if isinstance(one.ctx, ast.Load)
    )


def _changes(file: ModalFile, attributes: set[str], function: Function) -> bool:
    """Whether what runs for a call gives one of these attributes anew, or something to it."""
    if not attributes:
        return False
    owner = file.nodes.parent(function)
    if not isinstance(owner, ast.ClassDef):
        return True
    family = _family(file, owner)
    bodies = [
        one
        for held in family
        for one in held.body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    is_property = any(one.name in attributes for one in bodies)
    if is_property or not all(_has_known_bases(file, one) for one in family):
        return True
    starts = _starts(file, family, bodies)
    return any(
        node.attr in attributes
        and _is_written(file, node)
        and starts.isdisjoint(file.nodes.scopes(node))
        for node in file.nodes.of(ast.Attribute)
    )


def _family(file: ModalFile, owner: ast.ClassDef) -> list[ast.ClassDef]:
    """A class, and the classes of its file that it inherits from or that inherit from it, near and far."""
    family = [owner]
    for one in family:  # which grows meanwhile
        heirs = (
            other
            for other in file.nodes.of(ast.ClassDef)
            if any(isinstance(base, ast.Name) and base.id == one.name for base in other.bases)
        )
        family += [other for other in (*file.bases(one), *heirs) if other not in family]
    return family


def _has_known_bases(file: ModalFile, owner: ast.ClassDef) -> bool:
    """Whether a class has no base in another file, which may have setters and properties of its own."""
    found = {one.name for one in file.bases(owner)}
    names = [one.value if isinstance(one, ast.Subscript) else one for one in owner.bases]
    return all(
        (isinstance(one, ast.Name) and one.id in found)
        or file.names.qualname(one).partition(".")[0] in _HARMLESS_BASES
        for one in names
    )


def _starts(file: ModalFile, family: list[ast.ClassDef], bodies: list[Function]) -> set[ast.AST]:
    """The methods that run before the first call and at no call: a service's ``load`` is one of them."""
    is_service = any(unit.kind == "service" and unit.node in family for unit in file.units)
    named = {"__init__", "load"} if is_service else {"__init__"}
    called = {
        one.func.attr
        for one in file.nodes.of(ast.Call)
        if isinstance(one.func, ast.Attribute)
        and isinstance(one.func.value, ast.Name)
        and one.func.value.id in _SELF
    }
    return {
        one
        for one in bodies
        if one.name not in called
        and (
            one.name in named
            or any(each.qualname == "modal.enter" for each in file.decorators(one))
        )
    }


def _is_written(file: ModalFile, node: ast.Attribute) -> bool:
    """Whether an attribute is given a value, or something of it is used that may change it."""
    above = file.nodes.parent(node)
    reaches = isinstance(above, ast.Attribute | ast.Subscript) and above.value is node
    return not isinstance(node.ctx, ast.Load) or reaches
