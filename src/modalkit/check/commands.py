"""The words of commands that a file starts, such as the ``vllm serve`` of a server class."""

from __future__ import annotations

import ast

from .declared import ModalFile

__all__ = ["command_words"]

_MOST = 100  # words of one list
_DEEPEST = 5  # lists in lists, names of names
_Words = list[tuple[str, ast.expr]]


def command_words(file: ModalFile, call: ast.Call) -> _Words:
    """Return the words of a command that a call starts, each with its node; empty for another call.

    A word that is not a constant is empty, or holds a null character where only a part is known.
    """
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if method not in {"Popen", "run", "check_call", "create_subprocess_exec"}:
        return []
    words: _Words = []
    for argument in call.args:
        words += _words(file, argument)
    return words


def _words(file: ModalFile, node: ast.expr, depth: int = 0) -> _Words:
    text = file.names.text(node)
    if text is not None:
        return [(word, node) for word in text.split()]
    if isinstance(node, ast.JoinedStr):
        return _formatted(file, node)
    if isinstance(node, ast.List | ast.Tuple):
        entries = node.elts[:_MOST] if depth < _DEEPEST else []
        return [pair for one in entries for pair in _words(file, one, depth + 1) or [("", one)]]
    inner = _parts(file, node) if depth < _DEEPEST else []
    return [pair for one in inner for pair in _words(file, one, depth + 1) or [("", one)]]


def _parts(file: ModalFile, node: ast.expr) -> list[ast.expr]:
    """What an expression that is no literal hands its words on from."""
    if isinstance(node, ast.Starred):
        return [node.value]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [node.left, node.right]
    if isinstance(node, ast.Call) and node.args:
        is_text = _is_join(node) or file.names.qualname(node.func) in {"str", "shlex.split"}
        return [node.args[0]] if is_text else []
    if isinstance(node, ast.Name):
        return _gathered(file, node)
    return []


def _gathered(file: ModalFile, node: ast.Name) -> list[ast.expr]:
    """A list that is written once and then added to: ``cmd += [...]``, ``cmd.extend(...)``, ``cmd.append(...)``."""
    scope, bindings = file.names.bindings(node)
    if scope is None or not bindings or bindings[0].value is None:
        return []
    if any(one.added is None for one in bindings[1:]):
        return []
    parts = [bindings[0].value, *(one.added for one in bindings[1:] if one.added is not None)]
    for _, call in file.calls_in(scope):
        func = call.func
        if not isinstance(func, ast.Attribute) or func.attr not in {"extend", "append"}:
            continue
        if isinstance(func.value, ast.Name) and func.value.id == node.id:
            parts += call.args[:1]
    return parts


def _is_join(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and node.func.attr == "join"


def _formatted(file: ModalFile, node: ast.JoinedStr) -> _Words:
    """The words of an f-string; what is not known stands as one word of its own."""
    text = "".join(
        str(known) if (known := file.names.constant(part)) is not None else "\0"
        for value in node.values
        for part in [value.value if isinstance(value, ast.FormattedValue) else value]
    )
    return [(word, node) for word in text.split()]
