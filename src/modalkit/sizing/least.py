"""Figures of sizing's own values that may not be below a least."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import DeclarationError

__all__ = ["refuse_below"]


def refuse_below(value: object, least: Mapping[str, int], where: str = "") -> None:
    """Refuse a value with a field below its least; None is a field that says nothing.

    Args:
        value: What is being made.
        least: The least of each field that has one.
        where: When that least holds, said behind the field's name.

    Raises:
        DeclarationError: The first such field.
    """
    for name, smallest in least.items():
        given = getattr(value, name)
        if given is not None and given < smallest:
            msg = (
                f"{type(value).__name__}.{name}{where} must be at least {smallest}, got {given!r}."
            )
            raise DeclarationError(msg)
