"""How a file writes the names of Modal, and the edits that let it write another one."""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass
from typing import TypeVar

from ..declared import ModalFile
from ..findings import Edit
from .draft import Draft

__all__ = ["Spelled", "imported_names", "is_free", "spell"]

_Node = TypeVar("_Node", bound=ast.stmt)


@dataclass(frozen=True, slots=True)
class Spelled:
    """A name of Modal as this file writes it.

    Attributes:
        text: ``modal.enter``, ``m.enter`` or ``enter``.
        edits: What lets it: a name more in an import, or ``import modal``.
    """

    text: str
    edits: tuple[Edit, ...] = ()


def spell(file: ModalFile, name: str) -> Spelled | None:
    """Return how to write ``modal.NAME`` in a file; None where no way is safe."""
    for node in _top(file, ast.Import):
        for alias in node.names:
            if alias.name == "modal" or (alias.name.startswith("modal.") and not alias.asname):
                return Spelled(f"{alias.asname or 'modal'}.{name}")
    return _from_modal(file, name) or _new_import(file, name)


def _from_modal(file: ModalFile, name: str) -> Spelled | None:
    first, _, rest = name.partition(".")
    rest = f".{rest}" if rest else ""
    imports = [one for one in _top(file, ast.ImportFrom) if one.module == "modal" and not one.level]
    for node in imports:
        for alias in node.names:
            if alias.name == first:
                return Spelled((alias.asname or first) + rest)
    named = [one for one in imports if one.names[0].name != "*"]
    if not named or not is_free(file, first):
        return None
    draft = Draft(file)
    last = named[0].names[-1]
    return Spelled(first + rest, (draft.insert(draft.end(last), f", {first}"),))


def _new_import(file: ModalFile, name: str) -> Spelled | None:
    if not is_free(file, "modal"):
        return None
    first = next(
        (one for one in _top(file, ast.ImportFrom) if (one.module or "") != "__future__"), None
    )
    if first is None:
        return None
    draft = Draft(file)
    return Spelled(
        f"modal.{name}", (draft.insert(draft.line_start(draft.start(first)), "import modal\n"),)
    )


def _top(file: ModalFile, kind: type[_Node]) -> list[_Node]:
    """The statements of one kind that always run when the file is imported."""
    return [one for one in file.nodes.tree.body if isinstance(one, kind)]


def is_free(file: ModalFile, name: str) -> bool:
    """Whether a name is bound nowhere in a file and means nothing to Python."""
    if hasattr(builtins, name):
        return False
    nodes = file.nodes
    return not (
        any(one.id == name for one in nodes.of(ast.Name))
        or any(one.name == name for one in [*nodes.functions, *nodes.of(ast.ClassDef)])
        or any(one.arg == name for one in nodes.of(ast.arg))
        or any((one.asname or one.name.split(".")[0]) == name for one in nodes.of(ast.alias))
    )


def imported_names(file: ModalFile, origin: str) -> list[ast.Name]:
    """Return every use of a name that an import of ``from modal import NAME`` binds."""
    names = file.names
    last = origin.rpartition(".")[2]
    aliases = {
        alias.asname or alias.name
        for node in file.nodes.of(ast.ImportFrom)
        for alias in node.names
        if alias.name == last
    }
    return [
        one
        for one in file.nodes.of(ast.Name)
        if one.id in aliases and names.qualname(one) == origin and not names.bindings(one)[1]
    ]
