"""The code that runs when a function is called: itself, and what of its file it refers to.

An endpoint's checks may stand in a dependency, in a middleware, or in the handlers of an app that it
returns. Names are followed from function to function; of an app, the statements that register something on
it belong to it.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from functools import lru_cache

from .declared import ModalFile
from .nodes import Function

__all__ = ["reached"]

_MODALS = {"modal", "modalkit"}
_MOST = 200  # statements that one function reaches; more is generated code


def reached(file: ModalFile, body: Function) -> tuple[ast.AST, ...]:
    """Return a function and the statements of its file that it may run, each once, the nearest first."""
    return _Tops.of(file).reached(body)


class _Tops:
    """The statements at the top of a file, by the names that they define or register on."""

    def __init__(self, file: ModalFile) -> None:
        self._file = file
        self._referred: dict[ast.AST, tuple[ast.AST, ...]] = {}
        self._reached: dict[ast.AST, tuple[ast.AST, ...]] = {}
        self._methods: dict[ast.ClassDef, dict[str, list[ast.AST]]] = {}
        self._defining: dict[str, list[ast.AST]] = {}
        self._registering: dict[str, list[ast.AST]] = {}
        # What another unit runs is in a container of its own.
        units = {unit.node for unit in file.units}
        for statement in _statements(file.source.tree):
            for name in _defined(statement) if statement not in units else ():
                self._defining.setdefault(name, []).append(statement)
            for name in _registered_on(statement):
                self._registering.setdefault(name, []).append(statement)

    @staticmethod
    @lru_cache(maxsize=2)
    def of(file: ModalFile) -> _Tops:
        """Return those of a file."""
        return _Tops(file)

    def reached(self, body: ast.AST) -> tuple[ast.AST, ...]:
        """Return what a function may run; several rules ask for each."""
        if body not in self._reached:
            seen: dict[ast.AST, None] = {body: None}
            waiting = deque([body])
            while waiting and len(seen) < _MOST:
                others = [one for one in self._named_by(waiting.popleft()) if one not in seen]
                seen.update(dict.fromkeys(others))
                waiting.extend(others)
            self._reached[body] = tuple(seen)
        return self._reached[body]

    def _named_by(self, node: ast.AST) -> tuple[ast.AST, ...]:
        """The statements and methods that a node names; each node is walked once for a file."""
        if node not in self._referred:
            self._referred[node] = tuple(dict.fromkeys(self._walk(node)))
        return self._referred[node]

    def _walk(self, node: ast.AST) -> Iterator[ast.AST]:
        for one in ast.walk(node):
            if isinstance(one, ast.Name) and not self._is_modals(one):
                if one.id in self._defining:
                    yield from self._defining[one.id]
                    yield from self._registering.get(one.id, ())
            elif isinstance(one, ast.Attribute):
                yield from self._method(one)

    def _is_modals(self, name: ast.Name) -> bool:
        """Whether a name is an app, an image, a Volume: the whole file hangs on those."""
        return self._file.names.qualname(name).partition(".")[0] in _MODALS

    def _method(self, node: ast.Attribute) -> Iterator[ast.AST]:
        """The method behind ``self.name``."""
        if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            return
        for above in self._file.nodes.ancestors(node):
            if isinstance(above, ast.ClassDef):
                yield from self._methods_of(above).get(node.attr, ())
                return

    def _methods_of(self, owner: ast.ClassDef) -> dict[str, list[ast.AST]]:
        """The methods of a class by name; a class is asked for each ``self.name`` of its body."""
        if owner not in self._methods:
            found = self._methods[owner] = {}
            for one in owner.body:
                if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                    found.setdefault(one.name, []).append(one)
        return self._methods[owner]


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements of a module, those under ``if``, ``with`` and ``try`` too."""
    waiting = list(reversed(tree.body))
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.If | ast.With | ast.Try):
            waiting += reversed(one.body)
        else:
            yield one


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    yield from (one.id for one in targets if isinstance(one, ast.Name))


def _registered_on(statement: ast.stmt) -> Iterator[str]:
    """The objects whose methods a statement calls, or whose decorators it carries: ``@api.get("/")``."""
    calls: list[ast.expr] = []
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        calls = statement.decorator_list
    elif isinstance(statement, ast.Expr):
        calls = [statement.value]
    for call in calls:
        node = call.func if isinstance(call, ast.Call) else call
        while isinstance(node, ast.Attribute):
            node = node.value
        if isinstance(node, ast.Name):
            yield node.id
