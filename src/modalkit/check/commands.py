"""The words of commands that a file starts, such as the ``vllm serve`` of a server class."""

from __future__ import annotations

import ast

from .declared import ModalFile

__all__ = ["SPLICED", "command_words"]

SPLICED = "\0 \0"  # any number of words that are not known; no word has a space in it

_MOST = 100  # words of one list
_DEEPEST = 5  # lists in lists, names of names
_Words = list[tuple[str, ast.expr]]


def command_words(file: ModalFile, call: ast.Call) -> _Words:
    """Return the words of a command that a call starts, each with its node; empty for another call.

    A word that is not a constant is empty, or holds a null character where only a part is known. A list
    that is not known is `SPLICED`.
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
        inner = [(one, "") for one in entries]
    else:
        inner = _parts(file, node) if depth < _DEEPEST else []
    return [pair for one, word in inner for pair in _words(file, one, depth + 1) or [(word, one)]]


_Parts = list[tuple[ast.expr, str]]


def _parts(file: ModalFile, node: ast.expr) -> _Parts:
    """What an expression that is no literal hands its words on from, and the word for each if not known."""
    if isinstance(node, ast.Starred):
        return [(node.value, SPLICED)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        word = SPLICED if _is_list(file, node) else ""
        return [(node.left, word), (node.right, word)]
    if isinstance(node, ast.Call) and node.args:
        splits = _is_join(node) or file.names.qualname(node.func) == "shlex.split"
        is_text = splits or file.names.qualname(node.func) == "str"
        if is_text:
            return [(node.args[0], SPLICED if splits else "")]
        # A variable of the environment is its default where nothing is set.
        return [(one, "") for one in file.names.possible(node) if one is not node]
    if isinstance(node, ast.Name):
        return _gathered(file, node)
    return []


def _is_list(file: ModalFile, node: ast.expr, depth: int = 0) -> bool:
    """Whether a sum is one of lists, by any part of it that is written out."""
    if isinstance(node, ast.BinOp) and depth < _DEEPEST:
        return any(_is_list(file, one, depth + 1) for one in (node.left, node.right))
    return any(isinstance(one, ast.List | ast.Tuple) for one in file.names.possible(node))


def _gathered(file: ModalFile, node: ast.Name) -> _Parts:
    """A list that is written once and then added to: ``cmd += [...]``, ``cmd.extend(...)``, ``cmd.append(...)``."""
    scope, bindings = file.names.bindings(node)
    if scope is None or not bindings or bindings[0].value is None:
        return []
    if any(one.added is None for one in bindings[1:]):
        return []
    added = SPLICED if _is_list(file, bindings[0].value) else ""
    parts = [(bindings[0].value, "")]
    parts += [(one.added, added) for one in bindings[1:] if one.added is not None]
    for use in file.mappings.uses(scope, node.id):
        if isinstance(use, ast.Call) and isinstance(use.func, ast.Attribute):
            word = _ADDS.get(use.func.attr)
            parts += [(one, word) for one in use.args[:1] if word is not None]
    return parts


_ADDS = {"append": "", "extend": SPLICED}


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
