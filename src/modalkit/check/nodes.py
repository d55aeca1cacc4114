"""A syntax tree, walked once: nodes by kind, in the order of the file, and each one's parent.

The walk is a loop, so that no nesting is too deep for it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeVar

__all__ = ["Body", "Function", "Nodes", "Scope"]

Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Body = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_Node = TypeVar("_Node", bound=ast.AST)
_SCOPES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_CONTEXTS = (ast.expr_context, ast.operator, ast.cmpop, ast.unaryop, ast.boolop)


class Nodes:
    """The nodes of one tree."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self._parents: dict[ast.AST, ast.AST] = {}
        self._by_kind: dict[type[ast.AST], list[ast.AST]] = {}
        self._walk()

    def _walk(self) -> None:
        parents, by_kind = self._parents, self._by_kind
        waiting: list[ast.AST] = [self.tree]
        while waiting:
            node = waiting.pop()
            kind = type(node)
            by_kind.setdefault(kind, []).append(node)
            children: list[ast.AST] = []
            # What `ast.iter_child_nodes` does, without a generator for every node.
            for name in kind._fields:
                value = getattr(node, name, None)
                if isinstance(value, ast.AST):
                    if not isinstance(value, _CONTEXTS):  # shared between nodes, and of no use
                        children.append(value)
                elif isinstance(value, list):
                    children += [one for one in value if isinstance(one, ast.AST)]
            for child in children:
                parents[child] = node
            children.reverse()
            waiting += children

    def of(self, kind: type[_Node]) -> list[_Node]:
        """Return the nodes of one kind, in the order of the file."""
        return self._by_kind.get(kind, [])  # type: ignore[return-value] # filed under their own type

    @property
    def functions(self) -> list[Function]:
        """Every function definition, plain ones first."""
        return [*self.of(ast.FunctionDef), *self.of(ast.AsyncFunctionDef)]

    @property
    def definitions(self) -> list[Function | ast.ClassDef]:
        """Every function and class definition, in the order of the file."""
        found: list[Function | ast.ClassDef] = [*self.functions, *self.of(ast.ClassDef)]
        return sorted(found, key=lambda node: node.lineno)

    def parent(self, node: ast.AST) -> ast.AST | None:
        """Return what a node stands in; None for the module."""
        return self._parents.get(node)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what a node stands in, from the inside out."""
        while (above := self._parents.get(node)) is not None:
            yield above
            node = above

    def scopes(self, node: ast.AST) -> Iterator[Scope]:
        """Yield the scopes in which a name at this node is looked up, from the inside out.

        Decorators, defaults and base classes belong to the scope around their definition.
        """
        inside = node
        innermost = True
        for above in self.ancestors(node):
            if isinstance(above, _SCOPES) and not _is_outside(inside, above):
                # A class body is seen from its own statements, not from its methods.
                if innermost or not isinstance(above, ast.ClassDef):
                    yield above
                innermost = False
            inside = above

    def function(self, node: ast.AST) -> Function | None:
        """Return the function in whose body a node stands."""
        for scope in self.scopes(node):
            if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
                return scope
        return None

    def is_conditional(self, node: ast.AST) -> bool:
        """Whether a statement may not run where its scope runs: under if, try, for, while, match."""
        for above in self.ancestors(node):
            if isinstance(above, _SCOPES):
                return False
            if isinstance(above, ast.If | ast.Try | ast.For | ast.While | ast.Match):
                return True
        return False


def _is_outside(inside: ast.AST, scope: ast.AST) -> bool:
    """Whether a child of a definition belongs to the scope around it."""
    if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
        return inside not in scope.body
    if isinstance(scope, ast.ClassDef):
        return inside not in scope.body
    return False
