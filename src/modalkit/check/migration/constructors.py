"""MK811: constructors of classes that Modal runs, which became parameters and a start-up method."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from ..declared import ModalFile, Unit
from ..findings import Edit
from ..nodes import Function
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .lifecycle import own_methods
from .old_code import outdated
from .postponed import evaluated_annotations
from .spelling import Spelled, spell

__all__ = ["custom_constructor", "parameters_of"]

_TYPES = {"str", "int", "bool", "bytes"}


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One argument of a constructor: its name, its type and its default as text."""

    name: str
    type: str
    default: str | None


@rule(
    "MK811", "custom-constructor", "error", why="Modal refuses the class when the file is imported."
)
def custom_constructor(file: ModalFile) -> Iterator[Problem]:
    """A class of an app with an ``__init__`` of its own."""
    for unit in file.units:
        if unit.kind != "class" or not isinstance(unit.node, ast.ClassDef):
            continue
        own = _own_constructor(unit.node)
        if own is not None and not own.decorator_list:
            yield _constructor(file, unit, unit.node, own)
        elif own is None:
            yield from _inherited(file, unit.node)


def _own_constructor(held: ast.ClassDef) -> Function | None:
    return next((one for one in own_methods(held) if one.name == "__init__"), None)


def _inherited(file: ModalFile, held: ast.ClassDef) -> Iterator[Problem]:
    """The constructor of a base class, which Modal refuses too; one of an app has been told of already."""
    units = {unit.node for unit in file.units}
    for base in file.bases(held):
        if base in units or _own_constructor(base) is None:
            continue
        at = next(one for one in held.bases if isinstance(one, ast.Name) and one.id == base.name)
        words = "Write @modal.enter() methods and modal.parameter() instead of the __init__ of the base class."
        yield outdated(change("constructor"), at, words, old=f"{base.name}.__init__")


def _constructor(file: ModalFile, unit: Unit, held: ast.ClassDef, method: Function) -> Problem:
    known = change("constructor")
    parameters = parameters_of(file, method)
    parameter, enter = spell(file, "parameter"), spell(file, "enter")
    words = (
        "Write name: str = modal.parameter() for each argument, and @modal.enter() for the rest."
    )
    readable = parameters is not None and parameter is not None and enter is not None
    if not readable or not _movable(held, method):
        return outdated(known, method, words)
    assert parameters is not None and parameter is not None and enter is not None  # noqa: PT018, S101
    edits = _rewritten(file, unit, method, parameters, (parameter, enter))
    calls = _positional(file, held, parameters)
    types = evaluated_annotations(file) if parameters else []
    if types is None:
        words += (
            " Modal cannot read their types under from __future__ import annotations: remove it."
        )
    if edits is None or calls is None or types is None:
        return outdated(known, method, words)
    imports = {edit: None for one in (parameter, enter) for edit in one.edits}
    if len(imports) > 1:  # both names at one place of the same import
        first = next(iter(imports))
        imports = {type(first)(first.span, "".join(one.text for one in imports)): None}
    shown = "; ".join(f"{one.name}: {one.type} = modal.parameter(...)" for one in parameters)
    words = (
        f"Write {shown}." if shown else "Write @modal.enter() above it, and give it another name."
    )
    return outdated(known, method, words, [*edits, *calls, *imports, *types])


def parameters_of(file: ModalFile, method: Function) -> list[_Parameter] | None:
    """Return the arguments of a constructor as parameters; None if one cannot be a parameter."""
    args = method.args
    if args.vararg or args.kwarg or args.posonlyargs:
        return None
    given = args.args[1:]
    defaults: list[ast.expr | None] = [None] * (len(given) - len(args.defaults)) + list(
        args.defaults
    )
    pairs = [
        *zip(given, defaults, strict=True),
        *zip(args.kwonlyargs, args.kw_defaults, strict=True),
    ]
    found = []
    for arg, default in pairs:
        kind = _type(file, arg, default)
        if kind is None:
            return None
        text = None if default is None else file.source.segment(default)
        found.append(_Parameter(arg.arg, kind, text))
    return found


def _type(file: ModalFile, arg: ast.arg, default: ast.expr | None) -> str | None:
    value = file.names.constant(default)
    of_default = type(value).__name__ if default is not None and value is not None else None
    if arg.annotation is not None:
        written = file.source.segment(arg.annotation).strip("\"'")
        agrees = default is None or of_default == written
        return written if written in _TYPES and agrees else None
    return of_default if of_default in _TYPES else None


def _movable(held: ast.ClassDef, method: Function) -> bool:
    """Whether the body means the same in a method that runs at start."""
    mentions = {one.id for one in ast.walk(method) if isinstance(one, ast.Name)}
    earlier = [
        one for one in own_methods(held) if one.lineno < method.lineno and one.decorator_list
    ]
    rebound = {
        one.id
        for one in ast.walk(method)
        if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)
    }
    arguments = {one.arg for one in [*method.args.args[1:], *method.args.kwonlyargs]}
    asynchronous = isinstance(method, ast.AsyncFunctionDef)
    return not ("super" in mentions or earlier or rebound & arguments or asynchronous or held.bases)


def _rewritten(
    file: ModalFile,
    unit: Unit,
    method: Function,
    parameters: list[_Parameter],
    spelled: tuple[Spelled, Spelled],
) -> list[Edit] | None:
    draft, (parameter, enter) = Draft(file), spelled
    start, indent = draft.line_start(draft.start(method)), draft.indent(draft.start(method))
    lines = [
        f"{indent}{one.name}: {one.type} = {parameter.text}("
        + (f"default={one.default})" if one.default is not None else ")")
        for one in parameters
    ]
    kept = [one for one in method.body if not _only_stores(one, parameters) and not _is_doc(one)]
    if not [one for one in kept if not isinstance(one, ast.Pass)]:
        return [draft.edit(start, _after(draft, method), "\n".join(lines) + "\n" if lines else "")]
    if "\n" not in draft.text[draft.start(method) : draft.start(method.body[0])]:
        return None  # everything on one line
    hook = f"{indent}@{enter.text}({_snapped(unit)})\n"
    head = "".join(f"{line}\n" for line in lines) + ("\n" if lines else "") + hook
    name = _free_name(unit)
    definition = draft.edit(draft.start(method), _head_end(draft, method), f"def {name}(self):")
    stores = [one for one in method.body if _only_stores(one, parameters)]
    return [
        draft.insert(start, head),
        definition,
        *[draft.remove_statement(one) for one in stores],
        *_reads(draft, kept, parameters),
    ]


def _is_doc(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _after(draft: Draft, method: Function) -> int:
    return min(draft.line_end(draft.end(method)) + 1, len(draft.text))


def _head_end(draft: Draft, method: Function) -> int:
    """Where the colon of a definition ends."""
    return draft.text.rindex(":", 0, draft.line_start(draft.start(method.body[0]))) + 1


def _snapped(unit: Unit) -> str:
    value = unit.options.value("enable_memory_snapshot")
    return "snap=True" if isinstance(value, ast.Constant) and value.value is True else ""


def _free_name(unit: Unit) -> str:
    taken = {one.attr for one in ast.walk(unit.node) if isinstance(one, ast.Attribute)}
    taken |= {one.name for one in ast.walk(unit.node) if isinstance(one, ast.FunctionDef)}
    return next(one for one in ("initialize", "set_up", "initialize_container") if one not in taken)


def _only_stores(node: ast.stmt, parameters: list[_Parameter]) -> bool:
    """``self.name = name``, which a parameter does by itself."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return False
    target = node.targets[0]
    return (
        isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Name)
        and target.value.id == "self"
        and isinstance(node.value, ast.Name)
        and node.value.id == target.attr
        and any(one.name == target.attr for one in parameters)
    )


def _reads(draft: Draft, kept: list[ast.stmt], parameters: list[_Parameter]) -> list[Edit]:
    names = {one.name for one in parameters}
    return [
        draft.replace(node, f"self.{node.id}")
        for statement in kept
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and node.id in names
    ]


def _positional(
    file: ModalFile, held: ast.ClassDef, parameters: list[_Parameter]
) -> list[Edit] | None:
    """Name the arguments of ``Model("x")``; None where they cannot be told apart."""
    draft, edits = Draft(file), []
    for call in file.nodes.of(ast.Call):
        if not isinstance(call.func, ast.Name) or call.func.id != held.name:
            continue
        if len(call.args) > len(parameters) or any(
            isinstance(one, ast.Starred) for one in call.args
        ):
            return None
        for one, parameter in zip(call.args, parameters, strict=False):
            edits.append(draft.insert(draft.start(one), f"{parameter.name}="))
    return edits
