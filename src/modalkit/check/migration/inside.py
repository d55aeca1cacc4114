"""MK814: asking whether the code runs in a container."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..declared import ModalFile
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .names import renamed_members
from .old_code import outdated
from .spelling import spell

__all__ = ["inside_check"]


@rule("MK814", "inside-check", "error", why="The method is gone, so the file does not import.")
def inside_check(file: ModalFile) -> Iterator[Problem]:
    """``stub.is_inside()``, ``image.run_inside()`` and ``container_app``."""
    yield from renamed_members(file, "MK814")
    for call in file.nodes.of(ast.Call):
        if file.names.qualname(call.func) == "modal.App().is_inside":
            yield _is_inside(file, call)
    for node in file.nodes.of(ast.Attribute):
        if file.names.qualname(node.value) == "modal.container_app":
            yield _of_container(file, node)


def _of_container(file: ModalFile, node: ast.Attribute) -> Problem:
    """``container_app.NAME``: a function of the file; what the app keeps is another rule's."""
    known, tree = change("container-app"), file.nodes.tree
    own = any(one.name == node.attr and file.nodes.parent(one.node) is tree for one in file.units)
    if not own or file.names.binder(node, node.attr) is not tree:
        return outdated(known, node)
    edits = [Draft(file).replace(node, node.attr)]
    return outdated(known, node, f"Write {node.attr}.", edits)


def _is_inside(file: ModalFile, call: ast.Call) -> Problem:
    draft = Draft(file)
    image = call.args[0] if call.args else None
    statement = file.nodes.parent(call)
    if image is not None and isinstance(statement, ast.If) and _is_for(file, image, statement):
        text = f"with {draft.of(image)}.imports()"
        edits = [draft.edit(draft.start(statement), draft.end(call), text)]
        safe = _is_harmless(statement)
        return outdated(change("is-inside-image"), call, f"Write {text}:", edits, safe=safe)
    spelled = spell(file, "is_local")
    if spelled is None:
        return outdated(change("is-inside"), call)
    text = f"not {spelled.text}()"
    above = file.nodes.parent(call)
    if isinstance(above, ast.UnaryOp) and isinstance(above.op, ast.Not):
        text = f"{spelled.text}()"
        edits = [draft.replace(above, text), *spelled.edits]
    else:
        loose = isinstance(
            above, ast.If | ast.While | ast.Assign | ast.BoolOp | ast.IfExp | ast.Expr
        )
        edits = [draft.replace(call, text if loose else f"({text})"), *spelled.edits]
    return outdated(change("is-inside"), call, f"Write {text}.", edits)


_IMPORT = (ast.Import, ast.ImportFrom)


def _is_for(file: ModalFile, image: ast.expr, node: ast.If) -> bool:
    """Whether a block with imports is for one image, and other functions have other ones."""
    written = file.source.segment(image)
    images = [one.options.value("image") for one in file.units]
    alone = images and all(one and file.source.segment(one) == written for one in images)
    more = not _is_harmless(node)
    return (
        not node.orelse
        and not (alone and more)
        and any(isinstance(one, _IMPORT) for one in node.body)
    )


def _is_harmless(node: ast.If) -> bool:
    """Whether the block may also run where its imports happen to succeed, as here."""
    return all(isinstance(one, (*_IMPORT, ast.Expr)) for one in node.body)
