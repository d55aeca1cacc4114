"""MK809, MK810: methods that Modal runs when a container starts and ends."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..declared import ModalFile, Unit
from ..findings import Edit
from ..nodes import Function
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .early import function_methods
from .old_code import outdated
from .spelling import Spelled, spell

__all__ = ["build_step", "lifecycle_dunder", "own_methods"]

_DUNDERS = {
    "__build__": ("dunder-build", "enter", "build"),
    "__abuild__": ("dunder-build", "enter", "build"),
    "__enter__": ("dunder-enter", "enter", "enter"),
    "__aenter__": ("dunder-enter", "enter", "enter"),
    "__exit__": ("dunder-exit", "exit", "exit"),
    "__aexit__": ("dunder-exit", "exit", "exit"),
}
_HOOKS = {"modal.enter", "modal.exit", "modal.build"}


@rule(
    "MK809",
    "lifecycle-dunder",
    "error",
    why="Modal no longer calls it, so the model is never loaded.",
)
def lifecycle_dunder(file: ModalFile) -> Iterator[Problem]:
    """``__enter__`` and its kin, arguments of exit methods, ``ClsMixin``, and methods that are functions."""
    yield from function_methods(file)
    for unit in file.units:
        if isinstance(unit.node, ast.ClassDef):
            for method in own_methods(unit.node):
                yield from _method(file, unit, unit.node, method)
            yield from _mixin(file, unit.node)


def own_methods(node: ast.ClassDef) -> list[Function]:
    """Return the methods that a class defines itself."""
    return [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]


def _method(file: ModalFile, unit: Unit, held: ast.ClassDef, method: Function) -> Iterator[Problem]:
    hooks = {one.qualname for one in file.decorators(method)}
    if "modal.exit" in hooks and _extra_arguments(method):
        edits = _without_arguments(file, method)
        words = f"Write def {method.name}(self)."
        yield outdated(change("exit-arguments"), method, words, edits)
    if method.name in _DUNDERS and not hooks & _HOOKS:
        yield _dunder(file, unit, held, method)


def _dunder(file: ModalFile, unit: Unit, held: ast.ClassDef, method: Function) -> Problem:
    known_id, hook, plain = _DUNDERS[method.name]
    known, draft = change(known_id), Draft(file)
    spelled = spell(file, hook)
    words = f"Write @modal.{hook}() above it."
    if spelled is None:
        return outdated(known, method, words)
    call = f"{spelled.text}({_snapped(unit, hook)})"
    edits = [_decorated(draft, method, f"@{call}"), *spelled.edits]
    if hook == "exit" and _extra_arguments(method):
        fewer = _without_arguments(file, method)
        if not fewer:
            return outdated(known, method, f"{words} It takes no arguments now.")
        edits += fewer
    name = _plain_name(file, held, method, plain, spelled)
    if name is not None:
        edits.append(_renamed(draft, method, name))
        words = f"Write @{call} above it, and def {name}(self)."
    late = known_id == "dunder-build" and _follows_start(held, method)
    safe = known.is_safe and not late
    return outdated(known, method, words, edits, safe=safe, old=method.name)


def _snapped(unit: Unit, hook: str) -> str:
    """A class with a memory snapshot ran these methods before it was taken."""
    value = unit.options.value("enable_memory_snapshot")
    on = isinstance(value, ast.Constant) and value.value is True
    return "snap=True" if on and hook == "enter" else ""


def _decorated(draft: Draft, method: Function, line: str) -> Edit:
    first = method.decorator_list[0] if method.decorator_list else method
    start = draft.line_start(draft.start(first))
    return draft.insert(start, f"{draft.indent(draft.start(first))}{line}\n")


def _renamed(draft: Draft, method: Function, name: str) -> Edit:
    start = draft.text.index(method.name, draft.start(method))
    return draft.edit(start, start + len(method.name), name)


def _plain_name(
    file: ModalFile, held: ast.ClassDef, method: Function, plain: str, spelled: Spelled
) -> str | None:
    """A name without underscores; None when something calls the method by its old one."""
    by_name = any(one.attr == method.name for one in file.nodes.of(ast.Attribute))
    as_context = any(
        isinstance(one.context_expr, ast.Call)
        and isinstance(one.context_expr.func, ast.Name)
        and one.context_expr.func.id == held.name
        for one in file.nodes.of(ast.withitem)
    )
    if by_name or as_context:
        return None
    taken = {one.name for one in own_methods(held)} | _attributes(held)
    # Inside the class body the method would hide a decorator of the same name.
    imported = {one.asname or one.name for one in file.nodes.of(ast.alias)}
    bare = "." not in spelled.text or plain in imported
    names = [f"on_{plain}", f"{plain}_container"] if bare else [plain, f"on_{plain}"]
    return next((one for one in names if one not in taken), None)


def _attributes(held: ast.ClassDef) -> set[str]:
    return {one.attr for one in ast.walk(held) if isinstance(one, ast.Attribute)}


def _extra_arguments(method: Function) -> list[ast.arg]:
    args = method.args
    more = [one for one in (args.vararg, args.kwarg) if one is not None]
    return [*[*args.posonlyargs, *args.args][1:], *args.kwonlyargs, *more]


def _without_arguments(file: ModalFile, method: Function) -> list[Edit]:
    """Keep ``self`` alone, where nothing reads the others."""
    extra = _extra_arguments(method)
    names = {one.arg for one in extra}
    read = {one.id for one in ast.walk(method) if isinstance(one, ast.Name)}
    mine = [*method.args.posonlyargs, *method.args.args]
    if names & read or not mine:
        return []
    draft = Draft(file)
    ends = [draft.end(one) for one in extra]
    ends += [draft.end(one) for one in [*method.args.defaults, *method.args.kw_defaults] if one]
    closing = draft.text.find(")", max(ends))
    return [draft.edit(draft.end(mine[0]), closing, "")] if closing >= 0 else []


def _mixin(file: ModalFile, held: ast.ClassDef) -> Iterator[Problem]:
    draft = Draft(file)
    for base in held.bases:
        name = file.names.qualname(base)
        if name not in {"modal.cls.ClsMixin", "modal.ClsMixin"}:
            continue
        single = len(held.bases) == 1 and not held.keywords
        start = draft.text.rindex("(", 0, draft.start(base))
        end = draft.text.index(")", draft.end(base)) + 1
        edits = [draft.edit(start, end, "")] if single else None
        yield outdated(change("cls-mixin"), base, "Remove the base class.", edits)


def _follows_start(held: ast.ClassDef, method: Function) -> bool:
    """Whether a method that ran while the image was built stands behind one that runs at start."""
    for one in own_methods(held):
        if one is method:
            return False
        if one.name in {"__enter__", "__aenter__"} or any(
            "enter" in ast.dump(decorator) for decorator in one.decorator_list
        ):
            return True
    return False


# -- modal.build


@rule(
    "MK810",
    "build-step",
    "error",
    why="There is no modal.build any more, so the file does not import.",
)
def build_step(file: ModalFile) -> Iterator[Problem]:
    """A method that ran while the image was built."""
    for method in file.nodes.functions:
        decorators = file.decorators(method)
        build = next((one for one in decorators if one.qualname == "modal.build"), None)
        if build is not None:
            starts = any(one.qualname == "modal.enter" for one in decorators)
            yield _build(file, method, build.node, starts=starts)


def _build(file: ModalFile, method: Function, node: ast.expr, *, starts: bool) -> Problem:
    known, draft = change("build"), Draft(file)
    if starts:
        line = draft.line_start(draft.start(node))
        edits = [draft.edit(line, draft.line_end(draft.end(node)) + 1, "")]
        return outdated(known, node, "Remove it: @modal.enter() runs the method.", edits)
    spelled = spell(file, "enter")
    if spelled is None:
        return outdated(known, node, "Write @modal.enter().")
    held = file.nodes.parent(method)
    late = isinstance(held, ast.ClassDef) and _follows_start(held, method)
    edits = [draft.replace(node, f"{spelled.text}()"), *spelled.edits]
    return outdated(known, node, "Write @modal.enter().", edits, safe=not late)
