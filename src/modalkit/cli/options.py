"""Options that a command takes as one value, in place of a parameter for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

__all__ = ["options_as"]

_Argument = TypeVar("_Argument")
_Options = TypeVar("_Options")
_Option = Callable[[Callable[..., None]], Callable[..., None]]


def options_as(
    made: Callable[..., _Options], argument: str, options: Sequence[_Option]
) -> Callable[[Callable[[_Argument, _Options], None]], Callable[..., None]]:
    """Return a decorator that gives a command of one argument these options.

    Args:
        made: What makes one value of them, by their names.
        argument: The name of the command's argument.
        options: As `click.option` makes them, in the order that ``--help`` shows.
    """

    def decorate(function: Callable[[_Argument, _Options], None]) -> Callable[..., None]:
        @wraps(function)
        def read(**values: Any) -> None:
            function(values.pop(argument), made(**values))

        wrapped: Callable[..., None] = read
        for option in reversed(options):
            wrapped = option(wrapped)
        return wrapped

    return decorate
