"""Integers that remember the config fields they came from, and parameters that remember theirs.

A model class is built on torch's meta device from a config whose numbers are `Symbol`s. Every
parameter then knows its shape as arithmetic over config fields, with nothing guessed from sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full}


class Symbol(int):
    """An integer with its expression, such as ``(hidden_size // num_attention_heads)``."""

    expression: str

    def __new__(cls, value: int, expression: str) -> Self:
        """Make a symbol with its value."""
        symbol = super().__new__(cls, value)
        symbol.expression = expression
        return symbol

    def __deepcopy__(self, _memo: dict[int, object]) -> Symbol:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return (Symbol, (int(self), self.expression))

    def __neg__(self) -> Symbol:
        return Symbol(-int(self), f"(0 - {self.expression})")


class Ratio(float):
    """A float with its expression: what dividing symbols gives, until ``int()`` rounds it."""

    expression: str

    def __new__(cls, value: float, expression: str) -> Self:
        """Make a ratio with its value."""
        ratio = super().__new__(cls, value)
        ratio.expression = expression
        return ratio

    def __deepcopy__(self, _memo: dict[int, object]) -> Ratio:
        return self

    def __int__(self) -> Symbol:  # `int(x)` keeps only the value; see `whole`
        return Symbol(int(float(self)), f"int({self.expression})")


def written(value: object) -> str:
    """Return a number's expression."""
    return getattr(value, "expression", None) or repr(value)


def _traced(name: str, sign: str, *, swapped: bool) -> Callable[[Any, Any], Any]:
    def operate(self: Any, other: Any) -> Any:
        if not isinstance(other, int | float) or isinstance(other, bool):
            return NotImplemented
        base = int if isinstance(self, int) else float
        number = base.__dict__["__float__"](self) if base is float else int.__int__(self)
        plain = int.__int__(other) if isinstance(other, int) else float.__float__(other)
        left, right = (plain, number) if swapped else (number, plain)
        value = _APPLY[sign](left, right)
        first, second = (
            (written(other), written(self)) if swapped else (written(self), written(other))
        )
        kind = Symbol if isinstance(value, int) else Ratio
        return kind(value, f"({first} {sign} {second})")

    operate.__name__ = name
    return operate


_APPLY: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "/": lambda a, b: a / b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: a**b,
}
_NAMES = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "//": "floordiv",
    "/": "truediv",
    "%": "mod",
    "**": "pow",
}

for _sign, _word in _NAMES.items():
    for _class in (Symbol, Ratio):
        setattr(_class, f"__{_word}__", _traced(f"__{_word}__", _sign, swapped=False))
        setattr(_class, f"__r{_word}__", _traced(f"__r{_word}__", _sign, swapped=True))


class _WholeMeta(type(int)):  # type: ignore[misc]  # a metaclass of the built-in type
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, int)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, int)


class whole(int, metaclass=_WholeMeta):  # noqa: N801 - it stands for `int` in a modelling file
    """``int`` for modelling files: it keeps the expression of what it rounds."""

    def __new__(cls, value: Any = 0, *rest: Any) -> Any:
        """Round as ``int`` does, keeping the expression."""
        if isinstance(value, Symbol):
            return value
        if isinstance(value, Ratio):
            return Symbol(int(float.__float__(value)), f"int({value.expression})")
        return int(value, *rest)


def shape_of(parameter: nn.Parameter, module: nn.Module) -> list[str]:
    """Return a parameter's shape as expressions; a number where nothing is known of it.

    Where arithmetic on tensors lost the symbols, a size is looked up among the numbers that the module
    itself keeps and its config's width.
    """
    sizes = [int(size) for size in parameter.shape]
    symbols = getattr(parameter, "symbols", None)
    if symbols is not None and [int(size) for size in symbols] == sizes:
        return [written(size) for size in symbols]
    width = getattr(getattr(module, "config", None), "hidden_size", None)
    numbers = [width, *vars(module).values()]
    kept = {int(value): value for value in numbers if isinstance(value, Symbol)}
    return [written(kept.get(size, size)) for size in sizes]


class _Remembering(TorchFunctionMode):
    """Lets a tensor remember the symbols of its sizes, and passes them on to tensors of its shape."""

    def __torch_function__(
        self,
        function: Any,
        _types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and getattr(made, "symbols", None) is None:
            symbols = (
                _sizes(args, kwargs or {}) if function in _FACTORIES else _inherited(made, args)
            )
            if symbols is not None:
                made.symbols = symbols  # type: ignore[attr-defined]  # our own mark
        return made


def _sizes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    size = kwargs.get("size", args)
    if size and isinstance(size[0], tuple | list):
        size = size[0]
    return tuple(item for item in size if isinstance(item, int))


def _inherited(made: torch.Tensor, args: tuple[Any, ...]) -> Any:
    for one in args:
        symbols = getattr(one, "symbols", None) if isinstance(one, torch.Tensor) else None
        if symbols is not None and [int(size) for size in symbols] == list(made.shape):
            return symbols
    return None


@contextmanager
def tracing() -> Iterator[None]:
    """Let tensors and parameters remember the symbols of their sizes."""
    make_parameter = nn.Parameter.__new__

    def parameter(cls: type, data: Any = None, requires_grad: bool = True) -> Any:
        made = make_parameter(cls, data, requires_grad)
        made.symbols = getattr(data, "symbols", None)
        return made

    nn.Parameter.__new__ = parameter  # type: ignore[method-assign]  # put back below
    try:
        with _Remembering():
            yield
    finally:
        nn.Parameter.__new__ = make_parameter  # type: ignore[method-assign]
