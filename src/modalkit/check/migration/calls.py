"""MK813: calls of functions and classes that are written differently now."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..declared import ModalFile
from ..findings import Edit
from ..rule import Problem, rule
from .callables import Callables, Remote
from .changes import change
from .constructors import parameters_of
from .draft import Draft
from .lifecycle import own_methods
from .old_code import called, outdated
from .spelling import spell

__all__ = ["old_call"]

_ON_METHODS = {"remote", "remote_gen", "local", "spawn", "map", "starmap", "for_each", "call"}


@rule("MK813", "old-call", "error", why="The call fails when it runs.")
def old_call(file: ModalFile) -> Iterator[Problem]:
    """A function or class of Modal called in a way that is gone."""
    callables = Callables(file)
    for call in file.nodes.of(ast.Call):
        yield from _call(file, callables, call)
    for node in file.nodes.of(ast.Attribute):
        if node.attr == "web_url" and callables.remote(node.value) is not None:
            words = "Write .get_web_url()."
            edits = [Draft(file).rename(node, "get_web_url()")]
            yield outdated(change("web-url"), node, words, edits)
    yield from _small(file)


def _call(file: ModalFile, callables: Callables, call: ast.Call) -> Iterator[Problem]:
    remote = callables.remote(call.func)
    if remote is not None:
        yield _plain(file, call, remote)
        return
    function = call.func
    if not isinstance(function, ast.Attribute):
        return
    target = function.value
    if function.attr == "aio" and isinstance(target, ast.Attribute):
        function, target = target, target.value
    mine = callables.remote(target)
    draft = Draft(file)
    if mine is not None and function.attr == "call":
        new = "remote_gen" if mine.yields else "remote"
        yield outdated(
            change("call"), function, f"Write .{new}(...).", [draft.rename(function, new)]
        )
    elif mine is not None and function.attr == "submit":
        yield outdated(change("submit"), function, edits=[draft.rename(function, "spawn")])
    elif mine is not None and function.attr in {"keep_warm", "update_autoscaler"}:
        yield _autoscaled(draft, function, call, on=mine.on)
    elif function.attr in _ON_METHODS:
        yield from _on_class(file, callables, function)


def _plain(file: ModalFile, call: ast.Call, remote: Remote) -> Problem:
    """``f(x)`` ran here; ``Model().predict(x)`` ran in a container."""
    draft = Draft(file)
    if remote.on == "object":
        new = ("remote_gen" if remote.yields else "remote") + _aio(file, call)
        edits = [draft.insert(draft.end(call.func), f".{new}")]
        return outdated(change("plain-method"), call, f"Write .{new}(...).", edits)
    if remote.node is None:  # what was looked up has no code here
        new = "remote" + _aio(file, call)
        edits = [draft.insert(draft.end(call.func), f".{new}")]
        return outdated(change("plain-call"), call, f"Write .{new}(...).", edits)
    edits = [draft.insert(draft.end(call.func), ".local")]
    words = "Write .local(...) to run it here, as it did, or .remote(...) to run it in a container."
    return outdated(change("plain-call"), call, words, edits)


def _aio(file: ModalFile, call: ast.Call) -> str:
    """What lets a call be awaited, where it is: ``.remote`` itself answers the result."""
    above = file.nodes.parent(call)
    is_looped = isinstance(above, ast.AsyncFor | ast.comprehension) and above.iter is call
    is_async = isinstance(above, ast.AsyncFor) or bool(getattr(above, "is_async", 0))
    return ".aio" if isinstance(above, ast.Await) or (is_looped and is_async) else ""


def _autoscaled(draft: Draft, function: ast.Attribute, call: ast.Call, *, on: str) -> Problem:
    old = function.attr
    known = change("function-keep-warm" if old == "keep_warm" else "update-autoscaler")
    if on != "function":
        return outdated(known, function, "Call it on the instance of the class, not on a method.")
    edits: list[Edit] = [draft.rename(function, "autoscaler.update")]
    if old == "keep_warm" and call.args:
        edits.append(draft.insert(draft.start(call.args[0]), "min_containers="))
    named = [one for one in call.keywords if one.arg == "warm_pool_size"]
    edits += [draft.rename(one, "min_containers") for one in named]
    return outdated(known, function, "Write .autoscaler.update(...).", edits)


def _on_class(file: ModalFile, callables: Callables, function: ast.Attribute) -> Iterator[Problem]:
    """``Model.remote(...)`` and ``Model.predict.remote(...)``."""
    draft, target = Draft(file), function.value
    if function.attr == "remote" and callables.unit_class(target) is not None:
        edits = [draft.edit(draft.end(target), draft.end(function), "")]
        yield outdated(change("cls-remote"), function, "Write the class and its arguments.", edits)
        return
    held = callables.unit_class(target.value) if isinstance(target, ast.Attribute) else None
    if held is None or not isinstance(target, ast.Attribute):
        return
    methods = {one.name: one for one in own_methods(held)}
    if target.attr not in methods:
        return
    needs = _needs_arguments(file, held, methods.get("__init__"))
    added = None if needs else [draft.insert(draft.end(target.value), "()")]
    words = f"Write {held.name}().{target.attr}.{function.attr}(...)."
    yield outdated(change("method-on-class"), function, words, added)


def _needs_arguments(
    file: ModalFile, held: ast.ClassDef, constructor: ast.FunctionDef | ast.AsyncFunctionDef | None
) -> bool:
    """Whether an instance cannot be made of nothing."""
    if constructor is not None:
        parameters = parameters_of(file, constructor)
        return parameters is None or any(one.default is None for one in parameters)
    return any(
        isinstance(one, ast.AnnAssign)
        and isinstance(one.value, ast.Call)
        and file.names.qualname(one.value.func) == "modal.parameter"
        and not one.value.keywords
        for one in held.body
    )


def _small(file: ModalFile) -> Iterator[Problem]:
    draft = Draft(file)
    for call in file.nodes.of(ast.Call):
        name = called(file, call)
        if name == "modal.experimental.stop_app" and len(call.args) == 1 and not call.keywords:
            spelled = spell(file, "App")
            text = draft.of(call.args[0])
            if spelled is not None:
                edits = [
                    draft.replace(call, f"{spelled.text}.lookup({text}).stop()"),
                    *spelled.edits,
                ]
                yield outdated(change("stop-app"), call, "", edits)
        elif name in {"modal.Volume().listdir", "modal.Volume().iterdir"} and call.args:
            yield from _glob(draft, call)


def _glob(draft: Draft, call: ast.Call) -> Iterator[Problem]:
    text = draft.file.names.text(call.args[0])
    if text is None or not text.endswith("*"):
        return
    plain = text.rstrip("*").rstrip("/") or "/"
    recursive = text.endswith("**")
    words = f'Write "{plain}", recursive={recursive}.'
    sure = isinstance(call.args[0], ast.Constant) and not call.keywords and len(call.args) == 1
    edits = [draft.replace(call.args[0], f'"{plain}", recursive={recursive}')]
    yield outdated(change("listdir-glob"), call.args[0], words, edits if sure else None)
