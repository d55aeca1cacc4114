"""MK815: objects that were kept on the app, which became variables of the module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from keyword import iskeyword

from ..declared import ModalFile
from ..findings import Edit
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .names import taken_elsewhere
from .old_code import outdated
from .spelling import is_free

__all__ = ["app_object"]

_APP = "modal.App()"
_KEPT_BY = {_APP, f"{_APP}.app", "modal.container_app"}  # three names of one app, by their time
_OWN = {
    "app_id", "cls", "deploy", "description", "function", "include", "info", "lookup", "name", "run",
    "server", "set_tags", "get_tags", "stats", "stop", "local_entrypoint", "get_dashboard_url",
    "is_interactive", "registered_classes", "registered_entrypoints", "registered_functions",
    "registered_web_endpoints", "indexed_objects", "spawn_sandbox", "is_inside", "set_description",
    "webhook", "asgi", "wsgi", "generator", "serve", "app",
}  # fmt: skip
_KEYWORDS = {"name", "tags", "image", "secrets", "volumes", "include_source", "mounts"}


@rule(
    "MK815",
    "object-on-app",
    "error",
    why="The app no longer keeps it, so what reads it there fails.",
)
def app_object(file: ModalFile) -> Iterator[Problem]:
    """``stub.image = ...``, ``stub["queue"] = ...`` and objects given to the app."""
    named: set[str] = (
        set()
    )  # of two apps' objects of one name, the second has its turn after the first
    for node in file.nodes.of(ast.Assign):
        target = node.targets[0]
        if len(node.targets) != 1 or not isinstance(target, ast.Attribute | ast.Subscript):
            continue
        if file.names.qualname(target.value) != _APP:
            continue
        name = _name(target)
        if name == "image":
            yield _image(file, node, target)
        elif name is None:
            yield outdated(change("app-item"), target, "Write to a dict of the module.")
        elif isinstance(target, ast.Attribute) and _is_taken(file, target.value):
            continue  # other files read it there, where an attribute still is
        elif name not in _OWN and not name.startswith("_"):
            yield _object(file, node, target, name, first=name not in named)
            named.add(name)
    for call in file.apps:
        yield from _given(file, call)


def _is_taken(file: ModalFile, app: ast.expr) -> bool:
    """Whether another file takes the app from this one, by the name it has here."""
    return isinstance(app, ast.Name) and taken_elsewhere(file, app.id)


def _name(target: ast.expr) -> str | None:
    if isinstance(target, ast.Attribute):
        return target.attr
    index = target.slice if isinstance(target, ast.Subscript) else None
    return index.value if isinstance(index, ast.Constant) and isinstance(index.value, str) else None


def _uses(file: ModalFile, name: str, app: ast.expr | None = None) -> list[ast.expr]:
    """Every ``app.NAME`` and ``app["NAME"]``; of one app, where it is given and the file has several."""
    nodes: list[ast.expr] = [*file.nodes.of(ast.Attribute), *file.nodes.of(ast.Subscript)]
    every = [
        one
        for one in nodes
        if isinstance(one, ast.Attribute | ast.Subscript)
        and _name(one) == name
        and file.names.qualname(one.value) in _KEPT_BY
    ]
    if app is None or len(file.apps) == 1:
        return list(every)
    only = sum(isinstance(one.ctx, ast.Store) for one in every) == 1
    return [one for one in every if _is_of(file, one.value, app, only=only)]


def _is_of(file: ModalFile, owner: ast.expr, app: ast.expr, *, only: bool) -> bool:
    """Whether an object is one app's; ``container_app`` is that one's which alone has such an object."""
    if file.names.qualname(owner) == "modal.container_app":
        return only
    held = owner if isinstance(owner, ast.Name) else getattr(owner, "value", None)
    if not isinstance(held, ast.Name) or not isinstance(app, ast.Name):
        return False
    return held.id == app.id and file.names.bindings(held) == file.names.bindings(app)


def _object(
    file: ModalFile,
    node: ast.Assign,
    target: ast.Attribute | ast.Subscript,
    name: str,
    *,
    first: bool,
) -> Problem:
    known = change("app-object" if isinstance(target, ast.Attribute) else "app-item")
    uses = _uses(file, name, target.value)
    stored = [one for one in uses if isinstance(getattr(one, "ctx", None), ast.Store)]
    variable = _variable(file, name)
    at_top = file.nodes.parent(node) is file.nodes.tree
    if variable is None or len(stored) != 1 or not at_top or not first:
        return outdated(known, target, f"Write {name} = ... and use that name.")
    draft = Draft(file)
    edits = [draft.replace(one, variable) for one in uses]
    return outdated(known, target, f"Write {variable} = ... and use that name.", edits)


def _variable(file: ModalFile, name: str) -> str | None:
    plain = name.replace("-", "_")
    names = (plain, f"app_{plain}", f"the_{plain}")
    return next(
        (one for one in names if one.isidentifier() and not iskeyword(one) and is_free(file, one)),
        None,
    )


def _image(file: ModalFile, node: ast.Assign, target: ast.expr) -> Problem:
    """The image of every function that names none: the app is made with it now."""
    known, draft = change("app-image"), Draft(file)
    words = "Write modal.App(..., image=image)."
    owner = target.value if isinstance(target, ast.Attribute | ast.Subscript) else target
    made = _made(file, owner)
    if made is None or not _together(file, made, node, owner):
        return outdated(known, target, words)
    uses = [one for one in _uses(file, "image") if one is not target]
    variable = _variable(file, "image")
    call = made.value
    assert isinstance(call, ast.Call)  # noqa: S101 - `_made` looked
    if any(one.arg in {"image", None} for one in call.keywords) or variable is None:
        return outdated(known, target, words)
    with_image = _with_image(draft, made, call, variable)
    if isinstance(node.value, ast.Name):  # it has a name already
        with_image = _with_image(draft, made, call, node.value.id)
        edits = [draft.remove_statement(made), draft.replace(node, with_image)]
        edits += [draft.replace(one, node.value.id) for one in uses]
    else:
        edits = [
            draft.remove_statement(made),
            draft.replace(target, variable),
            draft.insert(draft.end(node), f"\n{with_image}"),
            *[draft.replace(one, variable) for one in uses],
        ]
    return outdated(known, target, words, edits)


def _with_image(draft: Draft, made: ast.Assign, call: ast.Call, image: str) -> str:
    """The statement that makes the app, with the image added."""
    edit = draft.add_keyword(call, f"image={image}")
    at = draft.offset(edit.span.line, edit.span.column)
    return draft.text[draft.start(made) : at] + edit.text + draft.text[at : draft.end(made)]


def _made(file: ModalFile, owner: ast.expr) -> ast.Assign | None:
    """The statement at the top of the file that makes an app."""
    if not isinstance(owner, ast.Name):
        return None
    _, bindings = file.names.bindings(owner)
    statement = bindings[0].at if len(bindings) == 1 else None
    top = isinstance(statement, ast.Assign) and file.nodes.parent(statement) is file.nodes.tree
    single = top and len(statement.targets) == 1  # type: ignore[union-attr] # told just before
    is_call = single and isinstance(getattr(statement, "value", None), ast.Call)
    return statement if is_call else None  # type: ignore[return-value] # the same


def _together(file: ModalFile, made: ast.Assign, node: ast.Assign, owner: ast.expr) -> bool:
    """Whether the app may be made where its image is: nothing uses it between the two."""
    body = file.nodes.tree.body
    if made not in body or node not in body or body.index(made) > body.index(node):
        return False
    name = owner.id if isinstance(owner, ast.Name) else ""
    between = body[body.index(made) + 1 : body.index(node)]
    inside = [*between, node.value]
    if (
        sum(
            _name(one) == "image" and isinstance(getattr(one, "ctx", None), ast.Store)
            for one in _uses(file, "image")
        )
        != 1
    ):
        return False
    return not any(
        isinstance(one, ast.Name) and one.id == name for part in inside for one in ast.walk(part)
    )


def _given(file: ModalFile, call: ast.Call) -> Iterator[Problem]:
    """``modal.Stub("x", queue=modal.Queue.new())``."""
    draft, known = Draft(file), change("app-kwargs")
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in _KEYWORDS:
            continue
        statement = file.nodes.parent(call)
        variable = _variable(file, keyword.arg)
        top = isinstance(statement, ast.stmt) and file.nodes.parent(statement) is file.nodes.tree
        words = f"Write {keyword.arg} = ... above, and use that name."
        if variable is None or not top or not isinstance(statement, ast.stmt):
            yield outdated(known, keyword, words)
            continue
        line = f"{variable} = {draft.of(keyword.value)}\n"
        edits: list[Edit] = [
            draft.insert(draft.line_start(draft.start(statement)), line),
            *draft.remove_argument(call, keyword),
            *[draft.replace(one, variable) for one in _uses(file, keyword.arg)],
        ]
        yield outdated(known, keyword, words, edits)
        return  # the next one with the next round
