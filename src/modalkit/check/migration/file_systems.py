"""MK818: network file systems, which become volumes; MK824: modules beside a file."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..declared import ModalFile
from ..findings import Edit
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .keywords import keywords, renamed
from .old_code import app_calls, outdated
from .spelling import spell

__all__ = ["file_system"]

_CLASS = "modal.NetworkFileSystem"


@rule(
    "MK828",
    "network-file-system-left",
    "warning",
    why="Modal warns on each use, and will remove it.",
)
def file_system(file: ModalFile) -> Iterator[Problem]:
    """A network file system."""
    if "NetworkFileSystem" not in file.source.text:
        return
    known = change("nfs")
    made = [one for one in file.nodes.of(ast.Attribute) if _is_class(file, one)]
    names = [one for one in file.nodes.of(ast.Name) if file.names.qualname(one) == _CLASS]
    imported = [one for one in names if not file.names.bindings(one)[1]]
    at: list[ast.expr] = [*made, *imported]
    if not at:
        return
    edits = _as_volumes(file, made, imported)
    words = "Write modal.Volume, and volumes= for network_file_systems=."
    for index, one in enumerate(at):
        yield outdated(known, one, words, edits if index == 0 else None)


def _is_class(file: ModalFile, node: ast.Attribute) -> bool:
    return node.attr == "NetworkFileSystem" and file.names.qualname(node) == _CLASS


def _as_volumes(file: ModalFile, made: list[ast.Attribute], imported: list[ast.Name]) -> list[Edit]:
    """Every one of them and every use at once; none where that is not sure."""
    draft = Draft(file)
    edits = [draft.rename(one, "Volume") for one in made]
    if imported:
        spelled = spell(file, "Volume")
        if spelled is None:
            return []
        edits += [draft.replace(one, spelled.text) for one in imported]
        edits += spelled.edits
    seen: set[ast.AST] = set()
    for name, call in app_calls(file):
        if not name.startswith(("modal.App()", "modal.Sandbox", "modal.Image()")):
            continue
        given = {one.name: one for one in keywords(file, call)}
        old, volumes = given.get("network_file_systems"), given.get("volumes")
        if old is None or old.key in seen:
            continue
        seen.add(old.key)
        if volumes is None:
            edits += renamed(draft, old, "volumes")
        elif (
            isinstance(volumes.value, ast.Dict)
            and not old.is_spread
            and isinstance(old.holder, ast.Call)
        ):
            spread = f"**{draft.of(old.value)}"
            after = ", " if volumes.value.keys else ""
            edits.append(draft.insert(draft.start(volumes.value) + 1, spread + after))
            edits += draft.remove_argument(old.holder, old.key)
        else:
            return []
    return edits
