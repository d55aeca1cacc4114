"""MK812: objects looked up by name in ways that are gone."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping

from ..declared import ModalFile
from ..findings import Edit
from ..rule import Problem, rule
from .changes import Change, change, changes_of
from .draft import Draft
from .early import reference
from .old_code import app_calls, outdated
from .spelling import spell

__all__ = ["old_lookup"]

_STORES = {
    "modal.Volume",
    "modal.Dict",
    "modal.Queue",
    "modal.NetworkFileSystem",
    "modal.SharedVolume",
}
_FROM_ID = {"modal.Image.from_id.aio", "modal.FunctionCall.from_id.aio"}


@rule("MK812", "old-lookup", "error", why="The method is gone, so the line fails.")
def old_lookup(file: ModalFile) -> Iterator[Problem]:
    """``lookup``, ``new``, ``persisted`` and constructors that Modal no longer has."""
    table = {one.old: one for one in changes_of("rewrite", "MK812")}
    for name, call in app_calls(file):
        owner, _, method = name.removesuffix(".aio").rpartition(".")
        known = table.get(f"{owner}.{method}")
        if known is not None and method in _REWRITTEN:
            yield from _REWRITTEN[method](file, call, known)
        else:
            yield from _others(file, call, name)
    yield from _tables(file)


def _others(file: ModalFile, call: ast.Call, name: str) -> Iterator[Problem]:
    owner, _, method = name.rpartition(".")
    function = call.func
    if method in {"persist", "persisted"} and _is_new(owner):
        yield _persist(file, call, owner)
    elif name == "modal.ref":
        yield reference(file, call)
    elif name in _STORES:
        yield from _made_unnamed(file, call, name)
    elif name in _FROM_ID:
        yield from _constructor_aio(file, call)
    elif name == "modal.Secret" and len(call.args) == 1:
        edits = [Draft(file).insert(Draft(file).end(function), ".from_dict")]
        yield outdated(change("secret-constructor"), call, "", edits)
    elif name in {"modal.Dict.from_name", "modal.Dict.ephemeral"}:
        yield from _data(call, first=name.endswith("ephemeral"))
    elif name == "modal.Function.from_name":
        yield from _of_class(file, call)
    elif method == "resolve" and owner.startswith("modal.") and owner.endswith("()"):
        edits = [
            Draft(file).edit(
                Draft(file).end(function) - len("resolve"), Draft(file).end(function), "hydrate"
            )
        ]
        yield outdated(change("resolve"), call, "", edits)


def _tables(file: ModalFile) -> Iterator[Problem]:
    """Renames that the table alone can make."""
    draft = Draft(file)
    table = {one.old: one for one in changes_of("name", "MK812")}
    last_parts = {old.rpartition(".")[2] for old in table}
    for node in file.nodes.of(ast.Attribute):
        known = table.get(file.names.qualname(node)) if node.attr in last_parts else None
        if known is not None:
            tail = (known.new or "").removeprefix(known.old.rpartition(".")[0] + ".")
            yield outdated(known, node, "", [draft.rename(node, tail)])


def _lookup(file: ModalFile, call: ast.Call, known: Change) -> Iterator[Problem]:
    """``await X.lookup.aio(...)`` too: ``from_name`` asks nobody, so there is nothing to wait for."""
    draft = Draft(file)
    function = call.func
    assert isinstance(function, ast.Attribute)  # noqa: S101 - it has a dotted name
    if function.attr != "aio":
        yield outdated(known, function, "", [draft.rename(function, "from_name")])
        return
    inner = function.value
    edits = [draft.edit(draft.end(inner) - len("lookup"), draft.end(function), "from_name")]
    yield outdated(known, function, "", [*_not_awaited(file, draft, call), *edits])


def _not_awaited(file: ModalFile, draft: Draft, call: ast.Call) -> list[Edit]:
    above = file.nodes.parent(call)
    return (
        [draft.edit(draft.start(above), draft.start(call), "")]
        if isinstance(above, ast.Await)
        else []
    )


def _constructor_aio(file: ModalFile, call: ast.Call) -> Iterator[Problem]:
    draft = Draft(file)
    function = call.func
    if isinstance(function, ast.Attribute):
        cut = draft.edit(draft.end(function.value), draft.end(function), "")
        edits = [*_not_awaited(file, draft, call), cut]
        yield outdated(change("aio-constructor"), function, "Leave out .aio and await.", edits)


def _persisted(file: ModalFile, call: ast.Call, known: Change) -> Iterator[Problem]:
    draft = Draft(file)
    function = call.func
    assert isinstance(function, ast.Attribute)  # noqa: S101 - it has a dotted name
    edits = [draft.rename(function, "from_name"), draft.add_keyword(call, "create_if_missing=True")]
    yield outdated(known, function, f"Write {known.new}(name, create_if_missing=True).", edits)


def _is_new(owner: str) -> bool:
    """Whether a name is ``modal.Volume.new()`` or ``modal.SharedVolume()``."""
    made = owner.removesuffix("()")
    return owner.endswith("()") and (made in _STORES or made.removesuffix(".new") in _STORES)


def _persist(file: ModalFile, call: ast.Call, owner: str) -> Problem:
    """``modal.SharedVolume().persist("x")``: the object before it was made for nothing else."""
    draft = Draft(file)
    function, known = call.func, change("persist")
    made = function.value if isinstance(function, ast.Attribute) else None
    if not isinstance(made, ast.Call) or made.args:
        return outdated(known, call)
    kind = made.func
    if owner.removesuffix("()").endswith(".new") and isinstance(kind, ast.Attribute):
        kind = kind.value
    edits = [
        draft.edit(draft.end(kind), draft.end(function), ".from_name"),
        draft.add_keyword(call, "create_if_missing=True"),
    ]
    return outdated(known, function, "", edits)


def _new(file: ModalFile, call: ast.Call, known: Change) -> Iterator[Problem]:
    """An object without a name; one with it keeps what it holds from run to run."""
    draft = Draft(file)
    above = file.nodes.parent(call)
    if isinstance(above, ast.Attribute) and above.attr in {"persist", "persisted"}:
        return
    words = f'Write {known.new}("NAME", create_if_missing=True).'
    name = _name_for(file, call)
    if name is None or not isinstance(call.func, ast.Attribute):
        yield outdated(known, call, words)
        return
    text = f'from_name("{name}", create_if_missing=True)'
    function = call.func
    edits = [draft.edit(draft.end(function) - len("new"), draft.end(call), text)]
    words = f"Write {text}. It keeps what it holds from run to run."
    yield outdated(known, call, words, edits if not call.args and not call.keywords else None)


def _made_unnamed(file: ModalFile, call: ast.Call, name: str) -> Iterator[Problem]:
    """``modal.Queue()``, when classes of objects still had constructors."""
    above = file.nodes.parent(call)
    if isinstance(above, ast.Attribute) and above.attr in {"persist", "persisted"}:
        return
    known, draft = change("store-constructor"), Draft(file)
    given = _name_for(file, call)
    if given is None or call.args or call.keywords:
        yield outdated(known, call, f'Write {name}.from_name("NAME", create_if_missing=True).')
        return
    text = f'.from_name("{given}", create_if_missing=True)'
    edits = [draft.edit(draft.end(call.func), draft.end(call), text)]
    yield outdated(known, call, f"Write {name}{text}.", edits, old=f"{name}()")


def _name_for(file: ModalFile, call: ast.Call) -> str | None:
    """``APP-VARIABLE``, from what the object is assigned to and what the app is called."""
    statement = file.nodes.parent(call)
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    variable = target.id if isinstance(target, ast.Name) else getattr(target, "attr", None)
    apps = [one for one in file.apps if one.args or one.keywords]
    app = file.names.text(apps[0].args[0]) if apps and apps[0].args else None
    if variable is None:
        return None
    plain = variable.strip("_").replace("_", "-").lower()
    return f"{app}-{plain}" if app else plain


def _data(call: ast.Call, *, first: bool) -> Iterator[Problem]:
    given = call.args if first else call.args[1:]
    named = [one.value for one in call.keywords if one.arg == "data"]
    for one in [*given, *named]:
        yield outdated(change("dict-data"), one)


def _of_class(file: ModalFile, call: ast.Call) -> Iterator[Problem]:
    """``Function.from_name("app", "Model.predict")``."""
    draft = Draft(file)
    written = call.args[1] if len(call.args) > 1 else None
    text = file.names.text(written)
    if written is None or text is None or text.count(".") != 1:
        return
    held, method = text.split(".")
    known, function = change("function-of-class"), call.func
    spelled = spell(file, "Cls")
    words = f'Write modal.Cls.from_name(APP, "{held}")().{method}.'
    constant = isinstance(written, ast.Constant) and isinstance(function, ast.Attribute)
    if not constant or spelled is None or method == "*":
        yield outdated(known, call, words)
        return
    edits = [
        draft.replace(function, f"{spelled.text}.from_name"),
        draft.replace(written, f'"{held}"'),
        draft.insert(draft.end(call), f"().{method}"),
        *spelled.edits,
    ]
    yield outdated(known, call, words, edits)


_Rewrite = Callable[[ModalFile, ast.Call, Change], Iterator[Problem]]
_REWRITTEN: Mapping[str, _Rewrite] = {"lookup": _lookup, "persisted": _persisted, "new": _new}
