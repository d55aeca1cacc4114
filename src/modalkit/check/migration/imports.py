"""MK820: imports of what Modal no longer has, once nothing uses them; and names with no successor."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..declared import ModalFile
from ..findings import Edit
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .old_code import outdated
from .spelling import imported_names

__all__ = ["removed_import"]

_NAMES = {
    "modal.Mount": "mount",
    "modal.build": "build",
    "modal.gpu": "gpu-object",
    "modal.create_package_mounts": "create-package-mounts",
    "modal.container_app": "container-app",
    "modal.cls.ClsMixin": "cls-mixin",
    "modal.mount.Mount": "mount",
    "modal.NetworkFileSystem": "nfs",
}
_MODULES = {"modal.gpu": "gpu-object", "modal.aio": "aio-stub"}
_MEMBERS = {
    "modal.App().registered_functions": "app-registered-functions",
    "modal.App().registered_classes": "app-registered-classes",
    "modal.App().registered_entrypoints": "app-registered-entrypoints",
    "modal.App().registered_web_endpoints": "app-registered-web-endpoints",
    "modal.App().indexed_objects": "indexed-objects",
    "modal.App().is_interactive": "is-interactive",
    "modal.App().set_description": "set-description",
    "modal.App().serve": "app-serve",
    "modal.Image().extend": "image-extend",
}


@rule(
    "MK820",
    "removed-name",
    "error",
    why="The file does not import, or the line fails when it runs.",
)
def removed_import(file: ModalFile) -> Iterator[Problem]:
    """An import of a name that Modal has not, and members without a successor."""
    for node in file.nodes.of(ast.ImportFrom):
        for alias in node.names:
            known = _NAMES.get(f"{node.module}.{alias.name}") or _MODULES.get(node.module or "")
            if known and not node.level and not _used(file, node, alias):
                words = f"Remove {alias.name} from the import."
                yield outdated(change(known), alias, words, _without(file, node, alias))
    for plain in file.nodes.of(ast.Import):
        for alias in plain.names:
            if alias.name in _MODULES and not _module_used(file, alias):
                yield _module(file, plain, alias)
    for attribute in file.nodes.of(ast.Attribute):
        name = file.names.qualname(attribute)
        known = _MEMBERS.get(name)
        if known is not None:
            yield outdated(change(known), attribute)


def _used(file: ModalFile, node: ast.ImportFrom, alias: ast.alias) -> bool:
    name = alias.asname or alias.name
    return any(one.id == name for one in file.nodes.of(ast.Name)) or bool(
        imported_names(file, f"{node.module}.{alias.name}")
    )


def _without(file: ModalFile, node: ast.ImportFrom, alias: ast.alias) -> list[Edit]:
    draft = Draft(file)
    others = [one for one in node.names if one is not alias]
    if not others:
        return [draft.remove_statement(node)]
    index = node.names.index(alias)
    if index == 0:
        return [draft.edit(draft.start(alias), draft.start(node.names[1]), "")]
    return [draft.edit(draft.end(node.names[index - 1]), draft.end(alias), "")]


def _module_used(file: ModalFile, alias: ast.alias) -> bool:
    if alias.asname:
        return any(one.id == alias.asname for one in file.nodes.of(ast.Name))
    return any(
        file.names.qualname(one) == alias.name and not _is_import(file, one)
        for one in file.nodes.of(ast.Attribute)
    )


def _is_import(file: ModalFile, node: ast.Attribute) -> bool:
    return isinstance(file.nodes.parent(node), ast.Import)


def _module(file: ModalFile, node: ast.Import, alias: ast.alias) -> Problem:
    """``import modal.gpu``, which also binds ``modal``."""
    draft = Draft(file)
    known = change(_MODULES[alias.name])
    bound = any(
        one.name == "modal" and one.asname is None
        for other in file.nodes.of(ast.Import)
        for one in other.names
    )
    if alias.asname is None and not bound:
        return outdated(known, alias, "Write import modal.", [draft.replace(alias, "modal")])
    if len(node.names) == 1:
        return outdated(known, node, "Remove the import.", [draft.remove_statement(node)])
    index = node.names.index(alias)
    start = draft.start(alias) if index == 0 else draft.end(node.names[index - 1])
    end = draft.start(node.names[1]) if index == 0 else draft.end(alias)
    return outdated(known, alias, "Remove it from the import.", [draft.edit(start, end, "")])
