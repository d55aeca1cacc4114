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
        if name != "modal.Cron" or not call.args:
            continue
        expression = file.names.text(call.args[0])
        zone = next((one.value for one in call.keywords if one.arg == "timezone"), None)
        timezone = file.names.text(zone) if zone is not None else "UTC"
        if expression is None:
            continue
        problem = _cron_problem(expression, timezone or "UTC")
        if problem:
            said, _, cure = problem.replace("Cron(", "modal.Cron(").rpartition(" Write ")
            yield Problem(
                call.args[0], said or problem, cure or 'Five fields, such as "0 6 * * 1-5".'
            )


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
    r"\binsert\s+into\b(?!.*\bon\s+conflict\b)(?!.*\bor\s+(?:ignore|replace)\b)",
    re.IGNORECASE | re.DOTALL,
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
    """A scheduled function with retries that appends or sends something."""
    for unit, _ in _scheduled(file):
        if unit.option("retries") is None or file.names.number(unit.option("retries")) == 0:
            continue
        for body in unit.bodies:
            yield from _effects(file, unit, body)


def _effects(file: ModalFile, unit: Unit, body: Function) -> Iterator[Problem]:
    for _, call in file.calls_in(body):
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        texts = [text for argument in call.args if (text := file.names.text(argument))]
        if method in _SENDS or any(_APPENDS.search(text) for text in texts):
            yield Problem(
                call,
                f"{unit.name} is retried, and this happens again.",
                "Remember what was done (a key, ON CONFLICT DO NOTHING), or retries=0.",
            )
