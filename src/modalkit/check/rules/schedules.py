"""MK7xx: functions that Modal starts by itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ...errors import DeclarationError
from ..declared import ModalFile, Unit
from ..nodes import Function
from ..rule import Problem, rule

__all__ = [
    "cron_never_fires",
    "repeated_effects",
    "required_parameters",
    "schedule_without_timeout",
]


def _scheduled(file: ModalFile) -> Iterator[tuple[Unit, ast.expr]]:
    for unit in file.units:
        value = unit.options.value("schedule")
        if value is not None and not (isinstance(value, ast.Constant) and value.value is None):
            yield unit, value


@rule(
    "MK701",
    "cron-never-fires",
    "error",
    why="Modal accepts some of these, and nothing ever runs.",
)
def cron_never_fires(file: ModalFile) -> Iterator[Problem]:
    """A cron expression or time zone that is wrong, or a date that never comes."""
    for name, call in file.calls:
        if name == "modal.Cron":
            yield from _never_fires(file, call)
        elif name == "modal.Period" and _is_empty(file, call):
            yield Problem(
                call, "modal.Period() of no length never comes round.", "modal.Period(days=1)."
            )


def _never_fires(file: ModalFile, call: ast.Call) -> Iterator[Problem]:
    given = file.options(call)
    at = call.args[0] if call.args else given.value("cron_string")
    expression = file.names.text(at)
    zone = given.value("timezone")
    timezone = file.names.text(zone) if zone is not None else "UTC"
    problem = _cron_problem(expression, timezone or "UTC") if expression is not None else ""
    if problem and at is not None:
        said, _, cure = problem.replace("Cron(", "modal.Cron(").rpartition(" Write ")
        yield Problem(at, said or problem, cure or 'Five fields, such as "0 6 * * 1-5".')


def _is_empty(file: ModalFile, call: ast.Call) -> bool:
    """Whether a period is written without a length, or with zeros alone."""
    options = file.options(call)
    values = [file.names.number(one.value) for one in options.given.values()]
    return options.complete and not call.args and all(value == 0 for value in values)


def _cron_problem(expression: str, timezone: str) -> str:
    """What the declaration says of a cron expression; empty where it takes it."""
    from ...declare.schedule import Cron  # noqa: PLC0415 - loads pydantic; few files have one

    try:
        Cron(expression, timezone=timezone)
    except DeclarationError as error:
        return str(error)
    return ""


@rule(
    "MK702",
    "schedule-with-required-parameters",
    "error",
    why="Modal calls it with nothing, so the file fails when it is imported.",
)
def required_parameters(file: ModalFile) -> Iterator[Problem]:
    """A scheduled function with a parameter that has no default."""
    for unit, _ in _scheduled(file):
        if isinstance(unit.node, ast.ClassDef):
            continue
        needed = _required(unit.node)
        if needed:
            yield Problem(
                needed[0],
                f"{unit.name} has a schedule and needs {', '.join(one.arg for one in needed)}.",
                f"A default: {needed[0].arg}=....",
            )


def _required(function: Function) -> list[ast.arg]:
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    bare = positional[: len(positional) - len(args.defaults)]
    return [
        *bare,
        *(
            one
            for one, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
            if default is None
        ),
    ]


@rule(
    "MK703",
    "schedule-without-timeout",
    "note",
    why="It ends after 300 seconds unless it says otherwise, and nobody is there to see it.",
)
def schedule_without_timeout(file: ModalFile) -> Iterator[Problem]:
    """A scheduled function that says nothing of its timeout."""
    for unit, value in _scheduled(file):
        if unit.lacks("timeout"):
            yield Problem(
                value,
                f"{unit.name} runs on a schedule with the default timeout of 300 s.",
                "timeout=900, or what its longest run may take.",
            )


_APPENDS = re.compile(
    r"\binsert\s+into\b(?!.*\bon\s+(?:conflict|duplicate)\b)(?!.*\bor\s+(?:ignore|replace)\b)"
    r"(?!.*\b(?:where|if)\s+not\s+exists\b)",
    re.IGNORECASE | re.DOTALL,
)
_CLEARS = re.compile(
    r"\b(?:delete\s+from|truncate|create\s+or\s+replace|drop\s+table|merge\s+into)\b", re.IGNORECASE
)
_SENDS = {
    "send_message",
    "sendmail",
    "chat_postMessage",
    "append_row",
    "append_rows",
    "sendMessage",
}


@rule(
    "MK704",
    "repeated-effects",
    "note",
    why="A run that is tried again, or interrupted and started anew, does all of it twice.",
)
def repeated_effects(file: ModalFile) -> Iterator[Problem]:
    """A scheduled function that appends to something, or sends something and has retries."""
    for unit, _ in _scheduled(file):
        retried = unit.option("retries") is not None and (
            file.names.number(unit.option("retries")) != 0
        )
        for body in unit.bodies:
            yield from _effects(file, unit, body, retried=retried)


def _effects(file: ModalFile, unit: Unit, body: Function, *, retried: bool) -> Iterator[Problem]:
    if any(_CLEARS.search(text) for _, call in file.calls_in(body) for text in _texts(file, call)):
        return  # what is there is taken away first
    again = "is retried" if retried else "may be interrupted and started anew"
    for name, call in file.calls_in(body):
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        # A message that comes twice is bearable once in a while; a row that is there twice stays.
        if (method in _SENDS and retried) or _appends(file, name, method, call):
            yield Problem(
                call,
                f"{unit.name} {again}, and this happens again.",
                "Remember what was done: a key, ON CONFLICT DO NOTHING, a file of its own for each day.",
            )


def _appends(file: ModalFile, name: str, method: str, call: ast.Call) -> bool:
    """Whether a call adds rows to a table, or lines to a file, without looking what is there."""
    if any(_APPENDS.search(text) for text in _texts(file, call)):
        return True
    options = file.options(call)
    if method == "to_sql":
        return file.names.text(options.value("if_exists")) == "append"
    mode = options.value("mode") or (call.args[1] if len(call.args) > 1 else None)
    path = file.names.text(call.args[0]) if call.args else None
    # Only a Volume outlives the container, and is mounted by an absolute path.
    is_kept = path is not None and path.startswith("/") and not path.startswith("/tmp")  # noqa: S108
    return name == "open" and is_kept and (file.names.text(mode) or "").startswith("a")


def _texts(file: ModalFile, call: ast.Call) -> list[str]:
    return [text for argument in call.args if (text := file.names.text(argument))]
