"""Arithmetic over config fields, as the architecture files write it: ``2 * hidden_size // n_head``."""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Mapping

from ..errors import SizingError
from .by_hand import BY_HAND

__all__ = ["Number", "evaluate", "fields_of"]

Number = int | float

_OPERATORS: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_Step = Callable[[Mapping[str, object]], Number]


def evaluate(expression: str, fields: Mapping[str, object]) -> int:
    """Return an expression's value for a config.

    Args:
        expression: Integers, ``+ - * / // % **``, ``int()``, ``len()`` and dotted field names.
        fields: Values by dotted name.

    Raises:
        SizingError: A field is missing or not a number, or they come to nothing, as a division by 0.
    """
    try:
        return int(_compiled(expression)(fields))
    except (ArithmeticError, ValueError) as error:
        read = ", ".join(f"{name} = {fields.get(name)!r}" for name in fields_of(expression))
        msg = f"The config's {expression} cannot be worked out ({error}) with {read}; correct them. {BY_HAND}"
        raise SizingError(msg) from error


@functools.cache
def fields_of(expression: str) -> tuple[str, ...]:
    """Return the dotted names of the fields an expression reads."""
    tree = ast.parse(expression, mode="eval").body
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = (
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
        and id(node) not in inner
        and id(node) not in calls
    )
    return tuple(dict.fromkeys(names))


@functools.cache
def _compiled(expression: str) -> _Step:
    return _build(ast.parse(expression, mode="eval").body)


def _build(node: ast.expr) -> _Step:
    match node:
        case ast.Constant(value=int() | float() as value):
            return lambda _fields: value
        case ast.Name() | ast.Attribute():
            return functools.partial(_field, ast.unparse(node))
        case ast.BinOp(left=left, op=kind, right=right):
            apply, first, second = _OPERATORS[type(kind)], _build(left), _build(right)
            return lambda fields: apply(first(fields), second(fields))
        case ast.Call(func=ast.Name(id="int"), args=[inner]):
            whole = _build(inner)
            return lambda fields: int(whole(fields))
        case ast.Call(func=ast.Name(id="len"), args=[inner]):
            name = ast.unparse(inner)
            return lambda fields: _length(name, fields)
        case _:
            msg = f"The expression {ast.unparse(node)!r} has a part this version does not know."
            raise SizingError(msg)


def _field(name: str, fields: Mapping[str, object]) -> Number:
    value = fields.get(name)
    if isinstance(value, list | tuple) and value and all(one == value[0] for one in value):
        value = value[0]  # a figure for each layer, the same for all
    if isinstance(value, int | float):
        return value
    msg = f"The config's {name!r} must be a number to size the model, got {value!r}. {BY_HAND}"
    raise SizingError(msg)


def _length(name: str, fields: Mapping[str, object]) -> int:
    value = fields.get(name)
    if isinstance(value, list | tuple | dict):
        return len(value)
    msg = f"The config's {name!r} must be a list, or names by number, to size the model, got {value!r}. {BY_HAND}"
    raise SizingError(msg)
