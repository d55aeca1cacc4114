"""The base of every declaration: a frozen pydantic value whose errors a tired person can act on."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from .errors import DeclarationError

__all__ = ["Value", "between", "did_you_mean", "one_of"]


class Value(BaseModel):
    """A declared value: immutable, comparable, hashable where its fields are, no unknown fields.

    Raises:
        DeclarationError: With every problem of the value at once, each as where, value, remedy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    place: ClassVar[str] = ""
    """What messages call it, where that is not the name of the class."""

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise DeclarationError(_explain(type(self), error)) from None


def between(least: float, most: float | None = None, unit: str = "") -> AfterValidator:
    """Return the annotation of a number that must lie in a range, both ends included.

    The error reads ``Scaling.timeout: must be 1 to 86400 seconds, got 0.``
    """
    span = f"at least {least}" if most is None else f"{least} to {most}"
    problem = f"must be {span} {unit}".rstrip()

    def check(number: float | None) -> float | None:
        if number is None:
            return None
        if not math.isfinite(number) or number < least or (most is not None and number > most):
            raise ValueError(problem)
        return number

    return AfterValidator(check)


_LOOK_ALIKES = str.maketrans("oil", "011")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'X'?`` for the nearest known word, or an empty string.

    Case and look-alikes do not count: ``H1OO`` is near ``H100``.
    """
    by_shape = {name.lower().translate(_LOOK_ALIKES): name for name in known}
    shape = word.lower().translate(_LOOK_ALIKES)
    near = difflib.get_close_matches(shape, by_shape, n=1, cutoff=0.6)
    return f" Did you mean {by_shape[near[0]]!r}?" if near else ""


def one_of(words: Iterable[str]) -> str:
    """Join words for a message: ``A, B or C``."""
    *head, last = words
    return f"{', '.join(head)} or {last}" if head else last


def _explain(declared: type[Value], error: ValidationError) -> str:
    return "\n".join(_explain_one(declared, dict(item)) for item in error.errors())


def _explain_one(declared: type[Value], item: Mapping[str, Any]) -> str:
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, DeclarationError):
        return str(cause)
    name = declared.place or declared.__name__
    where = ".".join([name, *(str(part) for part in item["loc"])])
    if item["type"] == "extra_forbidden":
        known = sorted(declared.model_fields)
        hint = did_you_mean(str(item["loc"][-1]), known)
        return f"{where} is not a field.{hint} {name} has {one_of(known)}."
    if item["type"] == "missing":
        return f"{where} is required."
    if item["type"] == "model_type":
        # Only its type: where a Secret belongs, what was given may be a secret's value.
        expected = item["ctx"]["class_name"]
        return f"{where} must be {expected}(...), got {type(item['input']).__name__}."
    problem = str(cause) if cause is not None else f"{item['msg'][0].lower()}{item['msg'][1:]}"
    return f"{where}: {problem.rstrip('.')}, got {item['input']!r}."
