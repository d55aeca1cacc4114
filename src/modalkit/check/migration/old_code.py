"""What the rules about old code share: finding the calls of Modal, and the words of a problem."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache

from ..declared import ModalFile
from ..findings import Edit, Fix
from ..rule import Problem
from .changes import Change

__all__ = ["app_calls", "called", "is_fallback", "outdated"]

_REGISTERING = {"function", "cls"}


def outdated(
    change: Change,
    at: ast.AST,
    instead: str = "",
    edits: tuple[Edit, ...] | list[Edit] | None = None,
    *,
    safe: bool | None = None,
    old: str = "",
) -> Problem:
    """Return the problem that a piece of code is of a Modal that is no more.

    Args:
        change: What has changed.
        at: The piece of code.
        instead: The exact text to write; the table's own words unless given.
        edits: The rewrite, where there is one.
        safe: Whether it means the same; as the table says unless given.
        old: What is written here, where that is not what the table calls it.
    """
    message = f"{old or change.old} is {change.fate}."
    words = instead or (f"Write {change.new}." if change.new else "Nothing: remove it.")
    words = words.removeprefix("Write ")
    if change.note:
        words = f"{words} {change.note}"
    if not edits:
        return Problem(at, message, words)
    is_safe = change.is_safe if safe is None else safe
    return Problem(at, message, words, Fix(words, tuple(edits), is_safe))


def called(file: ModalFile, call: ast.Call) -> str:
    """Return the full name of what a call calls; ``?.NAME`` for a method of something unknown.

    An app that another file made is known by what is done with it.
    """
    function = call.func
    name = file.names.qualname(function)
    if not isinstance(function, ast.Attribute):
        return name
    if function.attr in _REGISTERING and not name.startswith("modal.") and _is_app(file, function):
        return f"modal.App().{function.attr}"
    return name if name.startswith("modal.") else f"?.{function.attr}"


def _is_app(file: ModalFile, function: ast.Attribute) -> bool:
    """Whether the owner of ``.function`` or ``.cls`` is an app: by its name, or as a decorator's."""
    owner = function.value
    last = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
    if last.endswith(("app", "stub")):
        return True
    above = file.nodes.parent(function)
    over = file.nodes.parent(above) if above is not None else None
    decorated = isinstance(over, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return decorated and above in over.decorator_list  # type: ignore[union-attr] # told just before


# What a name, a keyword or a module that a release lacks raises.
_LACKING = {"AttributeError", "ImportError", "ModuleNotFoundError", "TypeError"}


def is_fallback(file: ModalFile, at: object) -> bool:
    """Return whether a piece of code runs only in a release that lacks what the ``try`` above it asks for."""
    above = file.nodes.ancestors(at) if isinstance(at, ast.AST) else ()
    return any(
        isinstance(one, ast.ExceptHandler) and _names_in(one.type) & _LACKING for one in above
    )


def _names_in(node: ast.expr | None) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)} if node else set()


def app_calls(file: ModalFile) -> Sequence[tuple[str, ast.Call]]:
    """Return every call with its name; ``functools.partial(app.function, ...)`` counts as the call."""
    return _named_calls(file)


@lru_cache(maxsize=1)  # every rule asks, one file after the other
def _named_calls(file: ModalFile) -> tuple[tuple[str, ast.Call], ...]:
    found = ((_partly(file, call, called(file, call)), call) for call in file.nodes.of(ast.Call))
    return tuple((name, call) for name, call in found if name)


def _partly(file: ModalFile, call: ast.Call, name: str) -> str:
    """What a call of ``functools.partial`` will call."""
    is_partial = file.names.qualname(call.func) == "functools.partial"
    if is_partial and call.args and isinstance(call.args[0], ast.Attribute):
        return called(file, ast.Call(func=call.args[0], args=[], keywords=[]))
    return name
