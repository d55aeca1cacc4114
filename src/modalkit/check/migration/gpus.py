"""MK805: objects for GPUs, which became strings."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from ..declared import ModalFile
from ..findings import Edit
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .old_code import app_calls, keywords, outdated

__all__ = ["gpu_object"]

_PREFIX = "modal.gpu."
_TYPES = {"T4", "L4", "A10G", "A100", "L40S", "H100", "Any"}
_SPECIAL = set("\"'{}\\\n")


@rule(
    "MK805",
    "gpu-object",
    "error",
    why="There is no modal.gpu any more, so the file does not import.",
)
def gpu_object(file: ModalFile) -> Iterator[Problem]:
    """A GPU given as an object of ``modal.gpu``, or as True."""
    draft = Draft(file)
    if _is_named(file):
        for name, node in file.calls:
            if name.startswith(_PREFIX):
                yield _object(draft, node, name.removeprefix(_PREFIX))
        yield from _bare(file)
    yield from _switches(file, draft)


def _is_named(file: ModalFile) -> bool:
    """Whether the module can be meant anywhere; most files need no closer look."""
    module = _PREFIX.rstrip(".")
    return any(one.attr == "gpu" for one in file.nodes.of(ast.Attribute)) or any(
        origin.startswith(module) for origin in file.names.origins
    )


def _object(draft: Draft, call: ast.Call, kind: str) -> Problem:
    options = {one.arg: one.value for one in call.keywords}
    memory = options.get("memory")
    if isinstance(memory, ast.Constant) and memory.value == 20:  # noqa: PLR2004 - GB
        return outdated(change("a100-20gb"), call, 'Write "A100".')
    text = _text(draft, kind, call, options)
    if text is None:
        words = 'Write the GPU as a string, such as "A100-80GB:2".'
        return outdated(change("gpu-object"), call, words)
    if not _is_given_to_modal(draft.file, call) and _is_count_read(draft.file):
        words = f"Write {text}, and the number itself where .count is read."
        return outdated(change("gpu-object"), call, words)
    edits = [draft.replace(call, text), *_counts(draft, call, options.get("count"))]
    return outdated(change("gpu-object"), call, f"Write {text}.", edits)


def _text(
    draft: Draft, kind: str, call: ast.Call, options: dict[str | None, ast.expr]
) -> str | None:
    """The string that means the same; None where it is not sure."""
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


def _counts(draft: Draft, call: ast.Call, count: ast.expr | None) -> list[Edit]:
    """``GPU.count`` of a variable: a string has a method of that name."""
    text = "1" if count is None else draft.of(count)
    text = text if count is None or isinstance(count, ast.Constant | ast.Name) else f"({text})"
    return [
        draft.replace(node, text)
        for node in _count_reads(draft.file)
        if _object_of(draft.file, node) is call
    ]


def _count_reads(file: ModalFile) -> Iterator[ast.Attribute]:
    """Every ``.count`` that is read; what is called is the method of a list or a text."""
    for node in file.nodes.of(ast.Attribute):
        is_called = getattr(file.nodes.parent(node), "func", None) is node
        if node.attr == "count" and isinstance(node.ctx, ast.Load) and not is_called:
            yield node


def _object_of(file: ModalFile, node: ast.Attribute) -> ast.Call | None:
    """The one call that made the GPU whose count is read; None where that is not sure."""
    if not isinstance(node.value, ast.Name):
        return None
    bindings = file.names.bindings(node.value)[1]
    value = bindings[0].value if len(bindings) == 1 else None
    is_gpu = isinstance(value, ast.Call) and file.names.qualname(value.func).startswith(_PREFIX)
    return value if is_gpu else None  # type: ignore[return-value] # a call, as told just before


def _is_count_read(file: ModalFile) -> bool:
    """Whether a count is read of what may be any GPU: one of two, a class's, an entry of a dict."""
    counted = {
        ast.dump(node.value)  # a counter of the program's own: self.count += 1
        for node in file.nodes.of(ast.Attribute)
        if node.attr == "count" and isinstance(node.ctx, ast.Store)
    }
    return any(
        _object_of(file, node) is None and ast.dump(node.value) not in counted
        for node in _count_reads(file)
    )


def _is_given_to_modal(file: ModalFile, call: ast.Call) -> bool:
    """Whether a GPU is an argument of Modal's, so that nothing else can read its count."""
    node: ast.AST | None = call
    while isinstance(node, ast.Call | ast.List | ast.Tuple | ast.IfExp | ast.keyword):
        node = file.nodes.parent(node)
        if isinstance(node, ast.Call):
            return any(node is one and name.startswith("modal.") for name, one in app_calls(file))
    return False


def _bare(file: ModalFile) -> Iterator[Problem]:
    """``modal.gpu.A100`` that nothing calls: a type in an annotation, an entry of a table."""
    imported = [one for one in file.nodes.of(ast.Name) if not file.names.bindings(one)[1]]
    nodes: list[ast.expr] = [*file.nodes.of(ast.Attribute), *imported]
    for node in nodes:
        name = file.names.qualname(node)
        called = getattr(file.nodes.parent(node), "func", None) is node
        if name.startswith(_PREFIX) and not called and name.removeprefix(_PREFIX).isidentifier():
            words = 'Write a string, such as "A100"; its type is str.'
            yield outdated(change("gpu-object"), node, words)


def _switches(file: ModalFile, draft: Draft) -> Iterator[Problem]:
    """``gpu=True``."""
    for name, call in app_calls(file):
        if not name.startswith("modal.App()"):
            continue
        for keyword in keywords(file, call):
            value = keyword.value
            if keyword.name == "gpu" and isinstance(value, ast.Constant) and value.value is True:
                yield outdated(change("gpu-true"), value, "", [draft.replace(value, '"any"')])
