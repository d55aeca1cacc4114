"""MK805: objects for GPUs, which became strings."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..declared import ModalFile
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .gpu_objects import PREFIX, count_edits, gpu_text, is_count_unsure
from .keywords import keywords
from .old_code import app_calls, outdated

__all__ = ["gpu_object"]


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
            if name.startswith(PREFIX):
                yield _object(draft, node)
        yield from _bare(file)
    yield from _switches(file, draft)


def _is_named(file: ModalFile) -> bool:
    """Whether the module can be meant anywhere; most files need no closer look."""
    module = PREFIX.rstrip(".")
    return any(one.attr == "gpu" for one in file.nodes.of(ast.Attribute)) or any(
        origin.startswith(module) for origin in file.names.origins
    )


def _object(draft: Draft, call: ast.Call) -> Problem:
    options = {one.arg: one.value for one in call.keywords}
    memory = options.get("memory")
    if isinstance(memory, ast.Constant) and memory.value == 20:  # noqa: PLR2004 - GB
        return outdated(change("a100-20gb"), call, 'Write "A100".')
    text = gpu_text(draft, call)
    if text is None:
        words = 'Write the GPU as a string, such as "A100-80GB:2".'
        return outdated(change("gpu-object"), call, words)
    if not _is_given_to_modal(draft.file, call) and is_count_unsure(draft):
        words = f"Write {text}, and the number itself where .count is read."
        return outdated(change("gpu-object"), call, words)
    edits = [draft.replace(call, text), *count_edits(draft, call)]
    return outdated(change("gpu-object"), call, f"Write {text}.", edits)


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
        if name.startswith(PREFIX) and not called and name.removeprefix(PREFIX).isidentifier():
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
