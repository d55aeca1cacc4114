"""MK401 and MK410: models that are loaded when a request is there, instead of before."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache

from ..declared import ModalFile, Unit
from ..loaders import SlowCall, slow_calls
from ..nodes import Function
from ..rule import Problem, rule
from ..steadiness import is_steady
from .cost import starts_training

__all__ = ["called_over_many", "loaded_at_first_call", "loaded_per_call"]

_OVER_MANY = {"map", "starmap", "for_each", "spawn_map"}
_ONE_BY_ONE = {"remote", "remote_gen", "spawn"}
_PER_CALL = (
    "modal.method", "modal.fastapi_endpoint", "modal.web_endpoint", "modal.batched",
    "modalkit.endpoint", "modalkit.service.endpoint",
)  # fmt: skip
_PER_REQUEST = ("modal.fastapi_endpoint", "modal.web_endpoint", "modal.batched")
# Methods whose work is to fetch or to learn, once in a while and with time to spare.
_AT_LEISURE = re.compile(r"download|fetch|prefetch|prepare|setup|set_up|cache|build|convert|export|train|tune|eval|merge|quantize|upload|sync")  # fmt: skip
_START = "self.model = ... in a method with @modal.enter(), which runs once per container."
_START_OF_SERVICE = "self.model = ... in load(self), which runs once per container."


@rule(
    "MK401",
    "loaded-per-call",
    "warning",
    why="Every call pays for it again, in seconds of GPU and of waiting.",
)
def loaded_per_call(file: ModalFile) -> Iterator[Problem]:
    """A model that is loaded or downloaded at every call of a method or endpoint, instead of at start."""
    for unit in file.units:
        cure = _START_OF_SERVICE if unit.kind == "service" else _START
        for body in _called_bodies(file, unit):
            for at, found in _loads(file, unit, body):
                if not _is_conditional(file, found.call):
                    does = "downloads" if found.downloads else "loads"
                    yield Problem(at, f"{body.name} {does} {found.what} at every call.", cure)


@rule(
    "MK410",
    "loaded-at-first-call",
    "note",
    why="The first request of every container waits for it, and its time limit counts the load.",
)
def loaded_at_first_call(file: ModalFile) -> Iterator[Problem]:
    """A model that is loaded in a method when the first request needs it, and kept for the next ones."""
    for unit in file.units:
        cure = _START_OF_SERVICE if unit.kind == "service" else _START
        for body in _called_bodies(file, unit):
            for at, found in _loads(file, unit, body):
                if not found.downloads and _is_kept(file, found.call):
                    said = f"{body.name} loads {found.what} at the first call of each container."
                    yield Problem(at, said, cure)


def _called_bodies(file: ModalFile, unit: Unit) -> Iterator[Function]:
    """What runs for each request: methods, endpoints, and functions that are called over many inputs."""
    if _AT_LEISURE.search(unit.name.lower()):
        return
    if isinstance(unit.node, ast.ClassDef):
        found = [one.node for one in unit.methods(*_PER_CALL)]
    elif unit.decorator(*_PER_REQUEST) is not None or called_over_many(file, unit):
        found = [unit.node]
    else:
        found = []
    yield from (one for one in found if not _is_leisurely(file, one))


def _is_leisurely(file: ModalFile, body: Function) -> bool:
    trains = any("Trainer" in name for name, _ in file.calls_in(body)) or starts_training(
        file, body
    )
    return trains or bool(_AT_LEISURE.search(body.name.lower()))


def called_over_many(file: ModalFile, unit: Unit) -> bool:
    """Return whether the file calls a function over many inputs, or in a loop."""
    return unit.name in _called_over_many(file)


@lru_cache(maxsize=2)  # several rules ask for each unit of a file
def _called_over_many(file: ModalFile) -> frozenset[str]:
    return frozenset(
        call.func.value.id
        for _, call in file.calls_in(file.source.tree)
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
        if call.func.attr in _OVER_MANY
        or (call.func.attr in _ONE_BY_ONE and _is_repeated(file, call))
    )


_LOOPS = (
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ListComp,
    ast.GeneratorExp,
    ast.SetComp,
    ast.DictComp,
)


def _is_repeated(file: ModalFile, call: ast.Call) -> bool:
    """Whether a loop of its function makes a call again; what a loop goes over is called once."""
    inner: ast.AST = call
    for above in file.nodes.ancestors(call):
        if isinstance(above, _LOOPS) and inner is not _iterated(above):
            return True
        if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return False
        if not isinstance(above, ast.comprehension):
            inner = above
    return False


def _iterated(loop: ast.AST) -> ast.expr | None:
    """What a loop goes over, which is worked out before its first round."""
    if isinstance(loop, ast.For | ast.AsyncFor):
        return loop.iter
    if isinstance(loop, ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp):
        return loop.generators[0].iter
    return None


def _loads(file: ModalFile, unit: Unit, body: Function) -> Iterator[tuple[ast.AST, SlowCall]]:
    """The loads of a function and of the helpers that it always calls, each with the place to point at."""
    for found in slow_calls(file, body):
        yield found.call, found
    for _, call in file.calls_in(body):
        helper = _helper(file, unit, call)
        if helper is None or helper is body or _is_conditional(file, call):
            continue
        if file.nodes.function(call) is body:
            yield from ((call, found) for found in slow_calls(file, helper))


def _helper(file: ModalFile, unit: Unit, call: ast.Call) -> Function | None:
    """The plain function of the file, or method of the class, that a call runs; None for a decorated one."""
    func = call.func
    if isinstance(func, ast.Name):
        name, among = func.id, file.source.tree.body
    elif (
        isinstance(func, ast.Attribute)
        and isinstance(func.value, ast.Name)
        and func.value.id == "self"
    ):
        name, among = func.attr, list(unit.bodies)
    else:
        return None
    functions = (one for one in among if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
    return next((one for one in functions if one.name == name and not one.decorator_list), None)


def _is_conditional(file: ModalFile, call: ast.Call) -> bool:
    """Whether a call does not happen at each run of its function; what stands in ``try`` does."""
    inner: ast.AST = call
    for above in file.nodes.ancestors(call):
        if _is_guarded(file, above, inner):
            return True
        inner = above
        if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return False
        if isinstance(above, ast.If | ast.IfExp | ast.ExceptHandler | ast.While | ast.Match):
            return True
        if isinstance(above, ast.For):
            return True
    return False


def _is_guarded(file: ModalFile, above: ast.AST, inner: ast.AST) -> bool:
    """Whether a statement comes after ``if self.model is not None: return``, in the block it stands in."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(above, name, None)
        if isinstance(block, list) and inner in block:
            before = block[: block.index(inner)]
            return any(_is_guard(file, one) for one in before)
    return False


def _is_guard(file: ModalFile, statement: ast.stmt) -> bool:
    """Whether a statement returns by what is kept between calls, not by what a call is given."""
    if not isinstance(statement, ast.If) or not isinstance(statement.body[-1], ast.Return):
        return False
    function = file.nodes.function(statement)
    if function is not None and is_steady(file, statement.test, function):
        return False
    waiting: list[ast.expr] = [statement.test]
    seen: set[ast.AST] = set()
    while waiting:
        for name in (one for one in ast.walk(waiting.pop()) if isinstance(one, ast.Name)):
            scope, bindings = file.names.bindings(name)
            if scope is not function or name.id in {"self", "cls"} or _outlives(file, name):
                continue
            if any(one.value is None for one in bindings):
                return False
            waiting += [one.value for one in bindings if one.value and one.at not in seen]
            seen.update(one.at for one in bindings)
    return True


def _is_kept(file: ModalFile, call: ast.Call) -> bool:
    """Whether a load under a condition is put where the next call finds it: in self, or in a global."""
    if not _is_conditional(file, call):
        return False
    for above in file.nodes.ancestors(call):
        if isinstance(above, ast.Assign):
            return any(_outlives(file, target) for target in above.targets)
        if isinstance(above, ast.stmt):
            return False
    return False


def _outlives(file: ModalFile, target: ast.expr) -> bool:
    if isinstance(target, ast.Attribute | ast.Subscript):
        return True
    function = file.nodes.function(target)
    if not isinstance(target, ast.Name) or function is None:
        return False
    return any(target.id in one.names for one in file.within(function, ast.Global))
