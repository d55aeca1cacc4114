"""MK801, MK818: names of Modal that became other names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path

from ..declared import ModalFile
from ..findings import Edit
from ..rule import Problem, rule
from .changes import Change, changes_of
from .draft import Draft
from .old_code import outdated
from .spelling import imported_names, is_free, spell

__all__ = ["renamed_file_system", "renamed_members", "renamed_name", "taken_elsewhere"]

_MOST_FILES = 500
# `from shared import NAME`, over several lines too, `shared.NAME`, and `import shared as s`.
_TAKES = (
    r"\bfrom\s+([\w.]+)\s+import\b(?:\s*\([^)]{{0,2000}}?|[^\n]{{0,2000}}?)\b{name}\b"
    r"|\b(\w+)\.{name}\b|\bimport\s+([\w.]+)\s+as\b"
)
_MOST_BYTES = 1_000_000
_SANDBOXES = {
    "modal.Sandbox.create()",
    "modal.Sandbox.from_id()",
    "modal.Sandbox.from_name()",
    "modal.App().spawn_sandbox()",
}
_GONE = "The file does not import, or the line fails when it runs."


@rule("MK801", "renamed-name", "error", why=_GONE)
def renamed_name(file: ModalFile) -> Iterator[Problem]:
    """A class, function or decorator of Modal that has another name now."""
    yield from _renamed(file, "MK801")
    yield from renamed_members(file, "MK801")


@rule("MK818", "network-file-system", "warning", why="Modal will remove it.")
def renamed_file_system(file: ModalFile) -> Iterator[Problem]:
    """Shared volumes, which became network file systems, which become volumes."""
    yield from _renamed(file, "MK818")


def _renamed(file: ModalFile, code: str) -> Iterator[Problem]:
    yield from _attributes(file, code)
    yield from _imported(file, code)


@cache
def _table(code: str) -> Mapping[str, Change]:
    """The renames of a rule by their old name."""
    return {one.old: one for one in changes_of("name", code)}


@cache
def _last_parts(code: str) -> frozenset[str]:
    return frozenset(old.rpartition(".")[2] for old in _table(code))


def _attributes(file: ModalFile, code: str) -> Iterator[Problem]:
    """``modal.Stub``, whatever ``modal`` is called here."""
    draft, table, last_parts = Draft(file), _table(code), _last_parts(code)
    for node in file.nodes.of(ast.Attribute):
        change = table.get(file.names.qualname(node)) if node.attr in last_parts else None
        if change is None:
            continue
        text = _new_text(file, node, change)
        if text is None:
            yield outdated(change, node)
            continue
        edits = [draft.replace(node, text), *_variable(file, node, change, draft)]
        yield outdated(change, node, edits=edits)


def _new_text(file: ModalFile, node: ast.Attribute, change: Change) -> str | None:
    old, new = change.old.split("."), (change.new or "").split(".")
    root: ast.expr = node
    steps = 0
    while isinstance(root, ast.Attribute):
        root, steps = root.value, steps + 1
    if not isinstance(root, ast.Name):
        return None
    kept = len(old) - steps  # how many parts of the old name the root stands for
    if old[:kept] == new[:kept]:
        return ".".join([root.id, *new[kept:]])
    spelled = spell(file, ".".join(new[1:]))
    return spelled.text if spelled and not spelled.edits else None


def _imported(file: ModalFile, code: str) -> Iterator[Problem]:
    """``from modal import Stub``, and every use of it."""
    table = _table(code)
    for node in file.nodes.of(ast.ImportFrom):
        for alias in node.names if not node.level else ():
            change = table.get(f"{node.module}.{alias.name}")
            if change is not None:
                yield outdated(change, alias, edits=_import_edits(file, change, node, alias))


def _import_edits(
    file: ModalFile, change: Change, node: ast.ImportFrom, alias: ast.alias
) -> list[Edit]:
    draft = Draft(file)
    new_module, _, new = (change.new or "").rpartition(".")
    origin = _origin(change.old)
    uses = imported_names(file, origin) if alias.asname is None else []
    renamed = [draft.replace(use, new) for use in uses]
    variables = [edit for use in uses for edit in _variable(file, use, change, draft)]
    if new_module != node.module:
        return _moved(file, change, node, alias)
    if alias.asname is not None:
        return [draft.rename(alias, new)]
    if any(one.name == new and one.asname is None for one in node.names):
        return [*_without(draft, node, alias), *renamed, *variables]
    if not is_free(file, new):
        return [draft.replace(alias, f"{new} as {alias.name}")]
    return [draft.rename(alias, new), *renamed, *variables]


def _origin(old: str) -> str:
    """The name under which `Names` knows what an import of it binds."""
    parts = old.split(".")
    inner = {"app", "image", "volume", "secret", "schedule", "functions", "cls", "partial_function"}
    return f"modal.{parts[-1]}" if len(parts) == 3 and parts[1] in inner else old  # noqa: PLR2004


def _moved(file: ModalFile, change: Change, node: ast.ImportFrom, alias: ast.alias) -> list[Edit]:
    """An import from another module than before."""
    draft = Draft(file)
    parts = (change.new or "").split(".")
    at = next((i for i, part in enumerate(parts) if part[0].isupper()), len(parts) - 1)
    module, name, rest = ".".join(parts[:at]), parts[at], ".".join(["", *parts[at + 1 :]])
    uses = imported_names(file, _origin(change.old))
    if alias.asname:
        return []
    if len(node.names) == 1 and (is_free(file, name) or name == alias.name):
        return [
            draft.replace(node, f"from {module} import {name}"),
            *[draft.replace(use, name + rest) for use in uses],
        ]
    spelled = spell(file, name) if module == "modal" else None
    if spelled is None:
        return []
    gone = _without(draft, node, alias) if len(node.names) > 1 else [draft.remove_statement(node)]
    return [*gone, *spelled.edits, *[draft.replace(use, spelled.text + rest) for use in uses]]


def _without(draft: Draft, node: ast.ImportFrom, alias: ast.alias) -> list[Edit]:
    index = node.names.index(alias)
    if index:
        return [draft.edit(draft.end(node.names[index - 1]), draft.end(alias), "")]
    return [draft.edit(draft.start(alias), draft.start(node.names[1]), "")]


def _variable(file: ModalFile, node: ast.expr, change: Change, draft: Draft) -> list[Edit]:
    """Rename ``stub`` to ``app`` with the class: ``modal deploy`` looks for that name alone."""
    call = file.nodes.parent(node)
    statement = file.nodes.parent(call) if call is not None else None
    if change.new != "modal.App" or not isinstance(statement, ast.Assign):
        return []
    target = statement.targets[0]
    if not isinstance(target, ast.Name) or target.id != "stub" or len(statement.targets) != 1:
        return []
    if file.nodes.parent(statement) is not file.nodes.tree or not _may_become_app(file, target):
        return []
    mine = file.names.bindings(target)[1]
    uses = [one for one in file.nodes.of(ast.Name) if one.id == "stub"]
    return [draft.replace(one, "app") for one in uses if file.names.bindings(one)[1] == mine]


def _may_become_app(file: ModalFile, target: ast.Name) -> bool:
    """Whether nothing is called ``app``, and no other file takes ``stub`` from here."""
    globals_ = {name for one in file.nodes.of(ast.Global) for name in one.names}
    nonlocals = {name for one in file.nodes.of(ast.Nonlocal) for name in one.names}
    return (
        not _hidden(file, target)
        and len(file.names.bindings(target)[1]) == 1
        and "stub" not in globals_ | nonlocals | _exported(file)
        and not taken_elsewhere(file, target.id)
    )


def _hidden(file: ModalFile, target: ast.Name) -> bool:
    """Whether ``app`` means something else where this name is used."""
    mine = file.names.bindings(target)[1]
    nodes = file.nodes
    binding: list[ast.AST] = [one for one in nodes.definitions if one.name == "app"]
    binding += [
        one for one in nodes.of(ast.Name) if one.id == "app" and not isinstance(one.ctx, ast.Load)
    ]
    binding += [one for one in nodes.of(ast.alias) if (one.asname or one.name) == "app"]
    scopes: set[ast.AST] = {nodes.scope(one) for one in binding}
    for argument in nodes.of(ast.arg):
        if argument.arg == "app":
            scopes.add(next(nodes.ancestors(nodes.parent(argument) or argument)))
    uses = [one for one in nodes.of(ast.Name) if one.id == "stub"]
    inside = [one for one in uses if file.names.bindings(one)[1] == mine]
    return nodes.tree in scopes or any(
        scope in scopes for one in inside for scope in nodes.scopes(one)
    )


def taken_elsewhere(file: ModalFile, name: str) -> bool:
    """Return whether a file of the same folder, or of the one above, takes a name from this one."""
    path = Path(file.source.path)
    if not path.is_file():
        return False
    folder = path.resolve().parent
    module = folder.name if path.stem == "__init__" else path.stem
    return any(
        module in _modules_with(name, str(one), one.stat().st_mtime_ns)
        for one in (folder, folder.parent)
    )


@lru_cache(maxsize=64)
def _modules_with(name: str, folder: str, _changed: int) -> frozenset[str]:
    """The modules from which the files of a folder take a name."""
    takes = re.compile(_TAKES.format(name=re.escape(name)))
    found: set[str] = set()
    for path in islice(Path(folder).glob("*.py"), _MOST_FILES):
        if path.is_file() and path.stat().st_size < _MOST_BYTES:
            for named in takes.findall(path.read_text("utf-8", errors="ignore")):
                found |= {module.rpartition(".")[2] for module in named if module}
    return frozenset(found)


def _exported(file: ModalFile) -> set[str]:
    """The strings of ``__all__``: what other files take from this one."""
    return {
        item.value
        for node in file.nodes.tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
        for item in ast.walk(node.value)
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    }


def renamed_members(file: ModalFile, code: str) -> Iterator[Problem]:
    """Yield the methods of objects of Modal that have another name now."""
    draft = Draft(file)
    for change in changes_of("member", code):
        owner, _, attribute = change.old.rpartition(".")
        for node in file.nodes.of(ast.Attribute):
            if node.attr == attribute and _is_owner(file, node.value, owner):
                edits = None if change.fix == "none" else [draft.rename(node, change.new or "")]
                yield outdated(change, node, "", edits)


def _is_owner(file: ModalFile, node: ast.expr, owner: str) -> bool:
    name = file.names.qualname(node)
    return name in _SANDBOXES if owner == "modal.Sandbox()" else name == owner
