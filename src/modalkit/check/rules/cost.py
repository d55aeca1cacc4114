"""MK5xx: what runs longer, wider or dearer than meant."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ...declare.catalogue import catalogue_date
from ..commands import command_words
from ..cures import keyword_fix
from ..declared import ModalFile, Option, Unit
from ..graphics import gpu_choices
from ..nodes import Function
from ..rule import Problem, rule
from ..thresholds import KEPT_WARM_USD

__all__ = [
    "HOURS_PER_MONTH",
    "WEB",
    "gpu_usd_per_hour",
    "idle_longer_than_start",
    "impossible_limit",
    "kept_warm",
    "no_max_containers",
    "starts_training",
    "training_timeout",
    "web_decorators",
]

HOURS_PER_MONTH = 730
_TRAINING = re.compile(
    r"^(?:pre_?train(?:ing)?|fine_?tun(?:e|ing)|training|train)(?:_(?!(?:test|val|dev)_)|$)|_(?:train|finetune)$"
)
_TRAINERS = ("Trainer().train", "Trainer().fit")
_TRAINING_COMMANDS = re.compile(r"\b(?:torchrun|accelerate launch|deepspeed|axolotl train)\b")
WEB = (
    "modal.fastapi_endpoint", "modal.asgi_app", "modal.wsgi_app", "modal.web_server", "modal.web_endpoint",
)  # fmt: skip


def gpu_usd_per_hour(file: ModalFile, unit: Unit) -> float:
    """Return the list price of a unit's first GPU choice; 0 where there is none that is known."""
    choices = gpu_choices(file, unit)
    return choices[0].usd_per_hour if choices else 0.0


@rule(
    "MK501",
    "training-timeout",
    "warning",
    why="Modal ends a function after 300 seconds unless it says otherwise, and what was not saved is lost.",
)
def training_timeout(file: ModalFile) -> Iterator[Problem]:
    """A training-like function on a GPU with the default timeout."""
    for unit in file.units:
        if unit.kind not in {"function", "class"} or unit.option("gpu") is None:
            continue
        name = _trains(file, unit) if unit.lacks("timeout") else ""
        if name:
            yield Problem(
                unit.registered.node,
                f"{name} trains, and has the default timeout of 300 s.",
                "timeout=6 * 60 * 60, and checkpoints on a Volume.",
                # Not safe: a run that hangs costs hours then, not minutes.
                keyword_fix(file, unit, "timeout", "6 * 60 * 60", safe=False),
            )


def _trains(file: ModalFile, unit: Unit) -> str:
    """The name of what trains when it is called: a function, or a method of a class; empty for neither."""
    if not isinstance(unit.node, ast.ClassDef):
        found = _TRAINING.search(unit.name) or starts_training(file, unit.node)
        return unit.name if found else ""
    for member in unit.methods("modal.method"):
        if starts_training(file, member.node):
            return f"{unit.name}.{member.name}"
    return ""


def starts_training(file: ModalFile, body: Function) -> bool:
    """Return whether a function trains: by a trainer, a command for it, or a loop of its own."""
    methods = set()
    for name, call in file.calls_in(body):
        words = " ".join(text for text, _ in command_words(file, call))
        if name.endswith(_TRAINERS) or _TRAINING_COMMANDS.search(words):
            return True
        methods.add(call.func.attr if isinstance(call.func, ast.Attribute) else "")
    return {"backward", "step"} <= methods


def web_decorators(unit: Unit) -> list[ast.expr]:
    """Return the decorators by which a unit answers HTTP."""
    own = [one.node for one in unit.decorators if one.qualname in WEB]
    return [
        *own,
        *(one.node for member in unit.members for one in member.decorators if one.qualname in WEB),
    ]


@rule(
    "MK502",
    "no-max-containers",
    "note",
    why="Every burst of requests, wanted or not, starts as many GPUs as the workspace may have.",
)
def no_max_containers(file: ModalFile) -> Iterator[Problem]:
    """A GPU that anyone's requests start, with no limit on how many."""
    for unit in file.units:
        price = gpu_usd_per_hour(file, unit)
        is_web = unit.kind == "server" or bool(web_decorators(unit))
        if is_web and price and unit.lacks("max_containers"):
            yield Problem(
                unit.registered.node,
                f"{unit.name} answers HTTP on a GPU of ${price:.2f} an hour, and has no max_containers.",
                "max_containers=4, or what the budget allows.",
            )


@rule(
    "MK503",
    "kept-warm",
    "warning",
    why="A container that is always there is paid for around the clock.",
)
def kept_warm(file: ModalFile) -> Iterator[Problem]:
    """``min_containers`` on a dear GPU, without a comment that says why."""
    for unit in file.units:
        option = unit.options.given.get("min_containers")
        kept = file.names.number(option.value) if option else None
        price = gpu_usd_per_hour(file, unit)
        if (
            option is None
            or not kept
            or kept < 1
            or price < KEPT_WARM_USD
            or _is_explained(file, option)
        ):
            continue
        yield Problem(
            option.at,
            f"{kept:.0f} container{'s' if kept > 1 else ''} on a GPU of ${price:.2f} an hour cost "
            f"${kept * price * HOURS_PER_MONTH:,.0f} a month, asked or not (prices of {catalogue_date()}).",
            "min_containers=0, or a comment that says why it is worth it.",
        )


def _is_explained(file: ModalFile, option: Option) -> bool:
    """Whether a comment stands at the keyword, or at the constant it names."""
    _, bindings = (
        file.names.bindings(option.value) if isinstance(option.value, ast.Name) else (0, [])
    )
    return any(_has_comment(file, at) for at in (option.at, *(one.at for one in bindings)))


def _has_comment(file: ModalFile, node: ast.AST) -> bool:
    line = getattr(node, "lineno", 1)
    return "#" in file.source.line(line) or file.source.line(line - 1).strip().startswith("#")


_LONG_WINDOW_S = 1200
_START_S = 120  # a generous cold start


@rule(
    "MK504",
    "idle-longer-than-start",
    "note",
    why="After each burst the GPU waits that long for nothing; starting anew is often cheaper.",
)
def idle_longer_than_start(file: ModalFile) -> Iterator[Problem]:
    """A scaledown window that costs many times the cold start it saves."""
    for unit in file.units:
        option = unit.options.given.get("scaledown_window")
        window = file.names.number(option.value) if option else None
        price = gpu_usd_per_hour(file, unit)
        if option is None or window is None or window <= _LONG_WINDOW_S or price < KEPT_WARM_USD:
            continue
        yield Problem(
            option.at,
            f"{window:.0f} s on a GPU of ${price:.2f} an hour cost ${window / 3600 * price:.2f} after each burst; "
            f"a cold start of {_START_S} s costs ${_START_S / 3600 * price:.2f}.",
            "scaledown_window=300, unless requests come every few minutes.",
        )


_LIMITS = {
    "timeout": (1, 86_400, "seconds"),
    "startup_timeout": (1, 86_400, "seconds"),
    "scaledown_window": (2, 3_600, "seconds"),
}


@rule(
    "MK505",
    "impossible-limit",
    "error",
    why="Modal refuses it when the app is deployed.",
)
def impossible_limit(file: ModalFile) -> Iterator[Problem]:
    """A timeout or window outside of what Modal allows, or fewer containers at most than at least."""
    for unit in file.units:
        for name, (least, most, what) in _LIMITS.items():
            value = file.names.number(unit.options.value(name))
            if value is not None and not least <= value <= most:
                yield Problem(
                    unit.options.given[name].at,
                    f"{name}={value:g} is outside of what Modal allows, {least} to {most:,} {what}.",
                    f"{name}={least if value < least else most}.",
                )
        yield from _crossed(file, unit)


def _crossed(file: ModalFile, unit: Unit) -> Iterator[Problem]:
    least = file.names.number(unit.options.value("min_containers"))
    most = file.names.number(unit.options.value("max_containers"))
    if least is not None and most is not None and least > most:
        yield Problem(
            unit.options.given["min_containers"].at,
            f"min_containers={least:g} is more than max_containers={most:g}.",
            f"min_containers={most:g}.",
        )
