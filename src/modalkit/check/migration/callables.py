"""What in a file is a function, a class or an object that Modal runs."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property

from ..declared import ModalFile, Unit
from ..nodes import Function
from .lifecycle import own_methods

__all__ = ["Callables", "Remote"]

_REMOTE = {
    "modal.method",
    "modal.batched",
    "modal.web_endpoint",
    "modal.fastapi_endpoint",
    "modal.asgi_app",
    "modal.wsgi_app",
    "modal.web_server",
}
# What Modal's own instances of a looked-up class have; everything else is a method of the user's.
_OF_INSTANCES = {"update_autoscaler", "keep_warm", "hydrate", "is_hydrated", "object_id"}
_FUNCTIONS = {"modal.Function.lookup()", "modal.Function.from_name()"}
_CLASSES = {"modal.Cls.lookup()", "modal.Cls.from_name()"}


@dataclass(frozen=True, slots=True)
class Remote:
    """A function of Modal: its definition where this file has it, and how it is reached.

    Attributes:
        node: Its definition; None for one that was looked up.
        on: ``"function"``, ``"object"`` (a method of an instance) or ``"self"``.
    """

    node: Function | None
    on: str

    @property
    def yields(self) -> bool:
        """Whether it is a generator."""
        return self.node is not None and any(
            isinstance(one, ast.Yield | ast.YieldFrom) for one in ast.walk(self.node)
        )


class Callables:
    """The functions and classes of one file."""

    def __init__(self, file: ModalFile) -> None:
        self.file = file

    @cached_property
    def _units(self) -> dict[ast.AST, Unit]:
        """Units whose own decorator is the outermost, so that their name is Modal's object."""
        return {
            unit.node: unit
            for unit in self.file.units
            if unit.node.decorator_list[0] is unit.registered.node
        }

    def remote(self, node: ast.expr) -> Remote | None:
        """Return the function of Modal that an expression is, if that is sure."""
        if isinstance(node, ast.Name):
            unit = self._defined(node)
            if unit is not None and isinstance(unit.node, ast.FunctionDef | ast.AsyncFunctionDef):
                return Remote(unit.node, "function")
        if self.file.names.qualname(node) in _FUNCTIONS:
            return Remote(None, "function")
        if isinstance(node, ast.Attribute):
            return self._method(node)
        return None

    def unit_class(self, node: ast.expr) -> ast.ClassDef | None:
        """Return the class of an app that an expression is."""
        unit = self._defined(node) if isinstance(node, ast.Name) else None
        return unit.node if unit is not None and isinstance(unit.node, ast.ClassDef) else None

    def _defined(self, node: ast.Name) -> Unit | None:
        """The unit that a name is, when nothing else is given that name."""
        _, bindings = self.file.names.bindings(node)
        return self._units.get(bindings[0].at) if len(bindings) == 1 else None

    def _method(self, node: ast.Attribute) -> Remote | None:
        held, on = self._instance(node.value)
        if held is None:
            looked_up = self._looked_up(node.value)
            own = node.attr.startswith("_") or node.attr in _OF_INSTANCES
            return Remote(None, "object") if looked_up and not own else None
        for method in own_methods(held):
            if method.name == node.attr:
                decorated = {one.qualname for one in self.file.decorators(method)}
                return Remote(method, on) if decorated & _REMOTE else None
        return None

    def _instance(self, node: ast.expr) -> tuple[ast.ClassDef | None, str]:
        """The class that an expression is an instance of."""
        if isinstance(node, ast.Call):
            return self.unit_class(node.func), "object"
        if not isinstance(node, ast.Name):
            return None, ""
        if node.id == "self":
            return self._own_class(node), "self"
        _, bindings = self.file.names.bindings(node)
        value = bindings[0].value if len(bindings) == 1 else None
        return (self._instance(value)[0], "object") if isinstance(value, ast.Call) else (None, "")

    def _own_class(self, node: ast.Name) -> ast.ClassDef | None:
        function = self.file.nodes.function(node)
        held = self.file.nodes.parent(function) if function is not None else None
        return held if isinstance(held, ast.ClassDef) and held in self._units else None

    def _looked_up(self, node: ast.expr) -> bool:
        """Whether an expression is an instance of a class that was looked up."""
        name = self.file.names.qualname(node)
        return any(name == f"{one}()" for one in _CLASSES)
