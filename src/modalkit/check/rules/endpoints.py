"""MK608 to MK611: endpoints, batched methods and servers that Modal refuses."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..declared import ModalFile, Unit
from ..nodes import Function
from ..rule import Problem, rule
from .cost import WEB

__all__ = ["batched_and_others", "batched_without_lists", "retries_refused", "server_forbids"]

_NOT_LISTS = {"str", "int", "float", "bool", "bytes", "dict", "tuple", "set"}


@rule(
    "MK608",
    "batched-without-lists",
    "error",
    why="Modal hands a batched function a list for each parameter and wants a list of the same length back.",
)
def batched_without_lists(file: ModalFile) -> Iterator[Problem]:
    """A batched function whose annotations say that it takes or returns single values."""
    for unit in file.units:
        found: list[tuple[Function, bool]] = []
        if not isinstance(unit.node, ast.ClassDef) and unit.decorator("modal.batched"):
            found.append((unit.node, False))
        found += [(one.node, True) for one in unit.methods("modal.batched")]
        for node, is_method in found:
            yield from _single_values(node, is_method=is_method)


def _single_values(node: Function, *, is_method: bool) -> Iterator[Problem]:
    for one in node.args.args[1:] if is_method else node.args.args:
        if isinstance(one.annotation, ast.Name) and one.annotation.id in _NOT_LISTS:
            yield Problem(
                one,
                f"{node.name} is batched, and {one.arg} is annotated as one {one.annotation.id}.",
                f"{one.arg}: list[{one.annotation.id}], and return a list.",
            )
    if isinstance(node.returns, ast.Name) and node.returns.id in _NOT_LISTS:
        yield Problem(
            node.returns,
            f"{node.name} is batched, and returns one {node.returns.id}.",
            f"-> list[{node.returns.id}], one for each input.",
        )


@rule(
    "MK609",
    "batched-and-others",
    "error",
    why="Modal refuses a class with a batched method and another method or endpoint.",
)
def batched_and_others(file: ModalFile) -> Iterator[Problem]:
    """A batched method beside a method or an endpoint in one class."""
    for unit in file.units:
        batched = list(unit.methods("modal.batched"))
        others = [one for one in unit.methods("modal.method", *WEB) if one not in batched]
        if batched and others:
            yield Problem(
                others[0].node,
                f"{unit.name} has the batched {batched[0].name} and also {others[0].name}.",
                f"A class of its own for {batched[0].name}.",
            )


_NOT_FOR_SERVERS = {"region": "compute_region", "timeout": "startup_timeout"}


@rule(
    "MK610",
    "server-forbids",
    "error",
    why="Modal raises it when the file is imported.",
)
def server_forbids(file: ModalFile) -> Iterator[Problem]:
    """What ``@app.server`` does not take: methods, ``@modal.concurrent``, ``region=``, ``timeout=``."""
    for unit in file.units:
        if unit.kind != "server":
            continue
        for name, other in _NOT_FOR_SERVERS.items():
            if (option := unit.options.given.get(name)) is not None:
                yield Problem(option.at, f"app.server has no {name}=.", f"{other}=....")
        if (decorator := unit.decorator("modal.concurrent")) is not None:
            yield Problem(
                decorator.node,
                "A server takes no @modal.concurrent.",
                "app.server(target_concurrency=...).",
            )
        for member in unit.methods("modal.method", *WEB):
            yield Problem(
                member.node,
                f"A server has no methods, and {member.name} is one.",
                "app.cls for methods; a server is reached by HTTP.",
            )
        if (
            isinstance(unit.node, ast.ClassDef)
            and not unit.node.bases
            and not list(unit.methods("modal.enter"))
        ):
            yield Problem(
                unit.registered.node,
                f"The server {unit.name} starts nothing: it has no @modal.enter().",
                "@modal.enter() on the method that starts the process.",
            )


@rule(
    "MK611",
    "retries-refused",
    "error",
    why="Modal refuses the function when the file is imported.",
)
def retries_refused(file: ModalFile) -> Iterator[Problem]:
    """``retries=`` on a web function or on a generator, which Modal does not start again."""
    for unit in file.units:
        option = unit.options.given.get("retries")
        none = option is None or file.names.constant(option.value) is None
        if none and not (option and isinstance(option.value, ast.Call)):
            continue
        kind = _never_retried(file, unit)
        if kind and option is not None:
            yield Problem(
                option.at,
                f"{unit.name} is {kind}, and Modal retries none.",
                "No retries=; let the caller try again.",
            )


def _never_retried(file: ModalFile, unit: Unit) -> str:
    if isinstance(unit.node, ast.ClassDef):
        return ""  # a class may have other methods beside its endpoints
    if any(one.qualname in WEB for one in unit.decorators):
        return "a web function"
    yields = [*file.within(unit.node, ast.Yield), *file.within(unit.node, ast.YieldFrom)]
    own = any(file.nodes.function(one) is unit.node for one in yields)
    return "a generator" if own else ""
