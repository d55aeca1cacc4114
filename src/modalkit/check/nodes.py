"""A syntax tree, walked once: nodes by kind, in the order of the file, and each one's parent.

The walk is a loop, so that no nesting is too deep for it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from typing import TypeVar

__all__ = ["Body", "Function", "Nodes", "Scope", "attribute_values"]

Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Body = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_Node = TypeVar("_Node", bound=ast.AST)
_SCOPES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_DEFINITIONS = {ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef}
# Fields that hold texts, numbers, or what is shared between nodes and of no use (`ctx`, operators).
_PLAIN = {
    "ctx",
    "op",
    "ops",
    "id",
    "attr",
    "kind",
    "type_comment",
    "simple",
    "is_async",
    "level",
    "conversion",
}


class Nodes:
    """The nodes of one tree."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self._parents: dict[ast.AST, ast.AST] = {}
        self._scope_of: dict[ast.AST, Scope] = {}
        self._chains: dict[Scope, tuple[Scope, ...]] = {}
        self._by_kind: dict[type[ast.AST], list[ast.AST]] = {}
        self._walk()

    def _walk(self) -> None:
        parents, scope_of, by_kind = self._parents, self._scope_of, self._by_kind
        fields_of: dict[type[ast.AST], tuple[str, ...]] = {}
        waiting: list[tuple[ast.AST, Scope]] = [(self.tree, self.tree)]
        while waiting:
            node, scope = waiting.pop()
            scope_of[node] = scope
            kind = type(node)
            if kind not in by_kind:
                by_kind[kind], fields_of[kind] = [], _fields(kind)
            by_kind[kind].append(node)
            if not (fields := fields_of[kind]):
                continue
            opened: Scope = node if isinstance(node, _SCOPES) else scope
            # Decorators, defaults and base classes belong to the scope around their definition.
            around = scope if kind in _DEFINITIONS else opened
            children: list[tuple[ast.AST, Scope]] = []
            # What `ast.iter_child_nodes` does, without a generator for every node.
            for name in fields:
                value = getattr(node, name, None)
                if isinstance(value, list):
                    within = opened if name == "body" else around
                    children += [(one, within) for one in value if isinstance(one, ast.AST)]
                elif isinstance(value, ast.AST):
                    children.append((value, around))
            for child, _ in children:
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

    def scope(self, node: ast.AST) -> Scope:
        """Return the innermost scope that a node stands in; the module's own is the module."""
        return self._scope_of[node]

    def scopes(self, node: ast.AST) -> tuple[Scope, ...]:
        """Return the scopes in which a name at this node is looked up, from the inside out.

        Decorators, defaults and base classes belong to the scope around their definition. A class body
        is seen from its own statements, not from its methods.
        """
        innermost = self._scope_of[node]
        if innermost not in self._chains:
            self._chains[innermost] = tuple(self._outwards(innermost))
        return self._chains[innermost]

    def _outwards(self, innermost: Scope) -> Iterator[Scope]:
        scope = innermost
        yield scope
        while scope is not self.tree:
            scope = self._scope_of[scope]
            if not isinstance(scope, ast.ClassDef):
                yield scope

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


def _fields(kind: type[ast.AST]) -> tuple[str, ...]:
    """The fields of a kind of node that may hold other nodes."""
    if kind is ast.Constant:
        return ()
    return tuple(name for name in kind._fields if name not in _PLAIN)


@lru_cache(maxsize=64)  # a class is asked for each of its loads
def attribute_values(owner: ast.ClassDef) -> dict[str, list[ast.expr]]:
    """Return what the body of a class gives its names, and its methods the attributes of ``self``."""
    found: dict[str, list[ast.expr]] = {}
    in_body = set(owner.body)
    for assign in ast.walk(owner):
        if not isinstance(assign, ast.Assign | ast.AnnAssign) or assign.value is None:
            continue
        for target in assign.targets if isinstance(assign, ast.Assign) else [assign.target]:
            if name := _attribute_set(target, is_body=assign in in_body):
                found.setdefault(name, []).append(assign.value)
    return found


def _attribute_set(target: ast.expr, *, is_body: bool) -> str:
    """The attribute of instances that an assignment sets: by name in the class body, else of ``self``."""
    if isinstance(target, ast.Name):
        return target.id if is_body else ""
    if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
        return ""
    return target.attr if target.value.id == "self" else ""
