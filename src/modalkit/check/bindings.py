"""Where each name of a file gets its values, by the scope that binds it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from .nodes import Function, Nodes, Scope

__all__ = ["Binding", "Bindings", "position"]


@dataclass(frozen=True, slots=True)
class Binding:
    """One place where a name gets a value.

    Attributes:
        at: The statement.
        value: What it gets; None where that is not followed.
        added: What ``name += ...`` adds.
    """

    at: ast.AST
    value: ast.expr | None
    added: ast.expr | None = None


class Bindings:
    """Where every name of a file gets its values.

    Attributes:
        assigned: By scope and name.
        imported: The full name behind an import, by scope and name.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self.assigned: dict[tuple[Scope, str], list[Binding]] = {}
        self.imported: dict[tuple[Scope, str], str] = {}
        self._collect()

    def _collect(self) -> None:
        nodes = self._nodes
        imports: list[ast.Import | ast.ImportFrom] = [*nodes.of(ast.Import)]
        for node in [*imports, *nodes.of(ast.ImportFrom)]:
            self._bind_import(node)
        for target, value, at in self._targets():
            self._bind(target, value, at)
        for definition in nodes.definitions:
            self._note(definition.name, None, definition)
        for function in [*nodes.functions, *nodes.of(ast.Lambda)]:
            self._bind_arguments(function)
        for bindings in self.assigned.values():
            bindings.sort(key=lambda one: position(one.at))

    def _targets(self) -> Iterator[tuple[ast.expr, ast.expr | None, ast.AST]]:
        """Everything that is assigned to, with its value where it has one of its own."""
        nodes = self._nodes
        for assign in nodes.of(ast.Assign):
            yield from ((target, assign.value, assign) for target in assign.targets)
        yield from ((one.target, one.value, one) for one in nodes.of(ast.AnnAssign) if one.value)
        yield from ((one.target, one.value, one) for one in nodes.of(ast.NamedExpr))
        yield from ((one.target, None, one) for one in nodes.of(ast.AugAssign))
        yield from ((one.target, None, one) for one in nodes.of(ast.For))
        yield from ((one.target, None, one) for one in nodes.of(ast.AsyncFor))
        for item in nodes.of(ast.withitem):
            if item.optional_vars is not None:
                yield item.optional_vars, None, item

    def _bind_import(self, node: ast.Import | ast.ImportFrom) -> None:
        scope = self._nodes.scope(node)
        for alias in node.names:
            if isinstance(node, ast.Import):
                origin = alias.name if alias.asname else alias.name.split(".")[0]
                name = alias.asname or origin
            else:
                origin = f"{'.' * node.level}{node.module or ''}.{alias.name}"
                name = alias.asname or alias.name
            self.imported.setdefault((scope, name), origin)

    def _bind_arguments(self, function: Function | ast.Lambda) -> None:
        args = function.args
        for one in [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]:
            if one is not None:
                self.assigned.setdefault((function, one.arg), []).append(Binding(one, None))

    def _bind(self, target: ast.expr, value: ast.expr | None, at: ast.AST) -> None:
        if isinstance(target, ast.Name):
            self._note(target.id, value, at)
        elif isinstance(target, ast.Tuple | ast.List):
            paired = (
                value.elts
                if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
                else [None] * len(target.elts)
            )
            for one, own in zip(target.elts, paired, strict=True):
                self._bind(one, own, at)

    def _note(self, name: str, value: ast.expr | None, at: ast.AST) -> None:
        added = at.value if isinstance(at, ast.AugAssign) else None
        self.assigned.setdefault((self._nodes.scope(at), name), []).append(
            Binding(at, value, added)
        )


def position(node: ast.AST) -> tuple[int, int]:
    """Return where a node stands, as line and byte, for sorting."""
    if isinstance(node, ast.withitem):
        node = node.context_expr
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
