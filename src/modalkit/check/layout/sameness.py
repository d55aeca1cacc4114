"""Whether two texts are one program, laid out in two ways."""

from __future__ import annotations

import ast
from itertools import zip_longest

__all__ = ["is_same_program"]


def is_same_program(before: str, after: str) -> bool:
    r"""Return whether two texts have the same syntax tree; False where the second is no Python.

    Examples:
        >>> is_same_program("f(x,y)", "f(\n    x, y\n)")
        True
        >>> is_same_program("f(x)", "f\n(x)")
        False
    """
    if before == after:
        return True
    try:
        nodes = zip_longest(ast.walk(ast.parse(before)), ast.walk(ast.parse(after)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_shape(one) == _shape(other) for one, other in nodes)


def _shape(node: ast.AST | None) -> tuple[object, ...]:
    """A node by itself: its kind, its values, and where it has how many others."""
    values = (getattr(node, name, None) for name in node._fields) if node is not None else ()
    return type(node), *map(_part, values)


def _part(value: object) -> object:
    if isinstance(value, list):
        return [_part(one) for one in value]
    return ast.AST if isinstance(value, ast.AST) else (type(value), value)
