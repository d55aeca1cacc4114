"""Objects of ``modal.gpu`` as the strings that mean the same, and the reads of their counts."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from ..findings import Edit
from .draft import Draft

__all__ = ["PREFIX", "count_edits", "gpu_text", "is_count_unsure"]

PREFIX = "modal.gpu."
_TYPES = {"T4", "L4", "A10G", "A100", "L40S", "H100", "Any"}
_SPECIAL = set("\"'{}\\\n")


def gpu_text(draft: Draft, call: ast.Call) -> str | None:
    """Return the string that means the same as a call of ``modal.gpu``; None where it is not sure."""
    kind = draft.file.names.qualname(call.func).removeprefix(PREFIX)
    options = {one.arg: one.value for one in call.keywords}
    if kind not in _TYPES or call.args or not set(options) <= {"count", "size", "memory"}:
        return None
    name = "any" if kind == "Any" else kind
    size, memory = options.get("size"), options.get("memory")
    if size is not None or memory is not None:
        suffix = _size(size, memory)
        if kind != "A100" or suffix is None:
            return None
        name += suffix
    count = options.get("count")
    if count is None or (isinstance(count, ast.Constant) and count.value == 1):
        return f'"{name}"'
    if isinstance(count, ast.Constant):
        return f'"{name}:{count.value}"' if isinstance(count.value, int) else None
    written = draft.of(count)
    if _SPECIAL & set(written):  # would end the string around it
        return f'"{name}:" + str({written})'
    return f'f"{name}:{{{written}}}"'


def _size(size: ast.expr | None, memory: ast.expr | None) -> str | None:
    """The suffix of an A100; the first ones were told apart by their memory."""
    given = size if size is not None else memory
    return _SIZES.get(given.value) if isinstance(given, ast.Constant) else None


_SIZES: Mapping[object, str] = {
    None: "",
    0: "",
    40: "-40GB",
    80: "-80GB",
    "40GB": "-40GB",
    "80GB": "-80GB",
}


def count_edits(draft: Draft, call: ast.Call) -> list[Edit]:
    """Return the edits of every ``GPU.count`` that reads the count of a GPU, perhaps of one of several.

    A string has a method of that name. The count of one GPU is written out; that of one of several is
    read out of the string.
    """
    return [
        draft.replace(node, _count(draft, node, objects))
        for node in _count_reads(draft)
        if call in (objects := _objects_of(draft, node))
    ]


def _count(draft: Draft, node: ast.Attribute, objects: list[ast.Call]) -> str:
    if len(objects) > 1:
        colon = _quoted(draft, node, ":")
        return f"int({draft.of(node.value)}.partition({colon})[2] or 1)"
    count = next((one.value for one in objects[0].keywords if one.arg == "count"), None)
    if count is None:
        return "1"
    text = draft.of(count)
    return text if isinstance(count, ast.Constant | ast.Name) else f"({text})"


def _quoted(draft: Draft, node: ast.AST, text: str) -> str:
    """A string in the quotes that the f-string around it, if there is one, has not."""
    joined = [one for one in draft.file.nodes.ancestors(node) if isinstance(one, ast.JoinedStr)]
    around = draft.of(joined[-1]).lstrip("fFrR")[:1] if joined else "'"
    return f"'{text}'" if around == '"' else f'"{text}"'


def _count_reads(draft: Draft) -> Iterator[ast.Attribute]:
    """Every ``.count`` that is read; what is called is the method of a list or a text."""
    for node in draft.file.nodes.of(ast.Attribute):
        is_called = getattr(draft.file.nodes.parent(node), "func", None) is node
        if node.attr == "count" and isinstance(node.ctx, ast.Load) and not is_called:
            yield node


def _objects_of(draft: Draft, node: ast.Attribute) -> list[ast.Call]:
    """The calls that made the GPU whose count is read; empty where that is not sure of each.

    What may also be None or a string has no count anyway.
    """
    if not isinstance(node.value, ast.Name) or not draft.of(node).endswith(".count"):
        return []
    found: list[ast.Call] = []
    for possible in draft.file.names.possible(node.value):
        if isinstance(possible, ast.Constant):
            continue
        if not isinstance(possible, ast.Call) or not _is_object(draft, possible):
            return []
        found.append(possible)
    return found


def _is_object(draft: Draft, call: ast.Call) -> bool:
    named = draft.file.names.qualname(call.func).startswith(PREFIX)
    return named and gpu_text(draft, call) is not None


def is_count_unsure(draft: Draft) -> bool:
    """Whether a count is read of what may be any GPU: a class's, an entry of a dict."""
    counted = {
        ast.dump(node.value)  # a counter of the program's own: self.count += 1
        for node in draft.file.nodes.of(ast.Attribute)
        if node.attr == "count" and isinstance(node.ctx, ast.Store)
    }
    return any(
        not _objects_of(draft, node) and ast.dump(node.value) not in counted
        for node in _count_reads(draft)
    )
