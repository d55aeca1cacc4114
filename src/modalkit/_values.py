"""The base of every declaration: a frozen pydantic value whose errors a tired person can act on."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from ._wording import did_you_mean, one_of
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

    if not TYPE_CHECKING:  # type checkers know that a frozen value has no setters

        def __setattr__(self, name: str, value: object) -> None:
            msg = (
                f"{type(self).__name__}.{name} cannot be changed: values are frozen. Make another."
            )
            raise DeclarationError(msg)

        def __new__(cls, *unnamed: object, **_fields: object) -> Self:
            if unnamed and cls.__init__ is Value.__init__:
                name, first = cls.place or cls.__name__, next(iter(cls.model_fields), None)
                instead = f"{name}({first}=...)" if first else f"{name}()"
                msg = f"{name} takes its fields by their names. Write {instead}."
                raise DeclarationError(msg)
            return super().__new__(cls)

    @classmethod
    def meant_by(cls, name: str) -> str | None:  # noqa: ARG003 - subclasses use it
        """Say in a sentence what to write for a field of another name; None where it means nothing."""
        return None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = cls.__dict__.get("__init__")
        if own is not None:
            type.__setattr__(cls, "__init__", _naming_unknown_fields(own))

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise DeclarationError(_explain(type(self), error)) from None


def between(least: float, most: float | None = None, unit: str = "") -> AfterValidator:
    """Return the annotation of a number that must lie in a range, both ends included.

    The error reads ``Scaling.timeout must be 1 to 86400 seconds, got 0.``
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


def _naming_unknown_fields(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor of its own signature so that a misspelt field reads like any other error."""
    known = list(inspect.signature(init).parameters)[1:]

    @functools.wraps(init)
    def named(self: Value, *args: Any, **fields: Any) -> None:
        for field in fields:
            if field not in known:
                raise DeclarationError(_unknown_field(type(self), field, known))
        init(self, *args, **fields)

    return named


def _unknown_field(declared: type[Value], field: str, known: Iterable[str]) -> str:
    name = declared.place or declared.__name__
    fields = sorted(known)
    meant = declared.meant_by(field)
    hint = f" {meant}" if meant else did_you_mean(field, fields)
    return f"{name}.{field} is not a field.{hint} {name} has {one_of(fields)}."


def _explain(declared: type[Value], error: ValidationError) -> str:
    return "\n".join(_explain_one(declared, dict(item)) for item in error.errors())


_LIST = ("a valid tuple", "a list")  # people write one, and a frozen value keeps a tuple


def _explain_one(declared: type[Value], item: Mapping[str, Any]) -> str:
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, DeclarationError):
        return str(cause)
    name = declared.place or declared.__name__
    path = [str(part) for part in item["loc"]]
    if path[-1:] == ["[key]"]:  # pydantic's mark behind the key that is wrong
        *before, field, _, _ = ["", *path]
        path = [*filter(None, before), f"{field} key"]
    where = ".".join([name, *path])
    if item["type"] == "extra_forbidden":
        return _unknown_field(declared, str(item["loc"][-1]), declared.model_fields)
    if item["type"] == "missing":
        return f"{where} is required."
    if item["type"] == "model_type":
        # Only its type: where a Secret belongs, what was given may be a secret's value.
        expected = item["ctx"]["class_name"]
        return f"{where} must be {expected}(...), got {type(item['input']).__name__}."
    problem = str(cause) if cause is not None else f"{item['msg'][0].lower()}{item['msg'][1:]}"
    problem = problem.rstrip(".").replace("input should be", "must be").replace(*_LIST)
    joint = " " if problem.startswith("must ") else ": "
    return f"{where}{joint}{problem}, got {item['input']!r}."
