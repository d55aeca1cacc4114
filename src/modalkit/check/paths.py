"""Paths that a file puts together from its own place: ``Path(__file__).parent / "Dockerfile"``."""

from __future__ import annotations

import ast
import os
from pathlib import Path

from .declared import ModalFile

__all__ = ["is_file", "read_path"]

_DEEPEST = 20  # names of names, folders of folders
_SAME = {"resolve", "absolute", "expanduser", "as_posix", "__str__"}
_MADE = {"pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath", "str", "os.fspath", "os.path.abspath",
         "os.path.realpath"}  # fmt: skip


def is_file(path: Path) -> bool:
    """Whether a file is there; False for what cannot be a path, such as a name that is too long."""
    return os.path.isfile(path)  # noqa: PTH113 - `Path.is_file` raises for those


def read_path(file: ModalFile, node: ast.expr, depth: int = 0) -> Path | None:
    """Return the path that an expression is, as far as it can be read without running anything."""
    if depth > _DEEPEST:
        return None
    text = file.names.text(node)
    if text is not None:
        return Path(text)
    if isinstance(node, ast.Name):
        return _named(file, node, depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _joined(file, [node.left, node.right], depth)
    if isinstance(node, ast.Attribute) and node.attr == "parent":
        held = read_path(file, node.value, depth + 1)
        return held.parent if held is not None else None
    if isinstance(node, ast.Subscript):
        return _above(file, node, depth)
    return _called(file, node, depth) if isinstance(node, ast.Call) else None


def _named(file: ModalFile, node: ast.Name, depth: int) -> Path | None:
    if node.id == "__file__":
        return Path(file.source.path).resolve()
    _, bindings = file.names.bindings(node)
    value = bindings[0].value if len(bindings) == 1 else None
    return None if value is None else read_path(file, value, depth + 1)


def _joined(file: ModalFile, nodes: list[ast.expr], depth: int) -> Path | None:
    parts = [read_path(file, one, depth + 1) for one in nodes]
    known = [one for one in parts if one is not None]
    return Path(*known) if known and len(known) == len(parts) else None


def _above(file: ModalFile, node: ast.Subscript, depth: int) -> Path | None:
    """``Path(__file__).parents[1]``."""
    number = file.names.number(node.slice)
    if not isinstance(node.value, ast.Attribute) or node.value.attr != "parents" or number is None:
        return None
    held = read_path(file, node.value.value, depth + 1)
    above = list(held.parents) if held is not None else []
    return above[int(number)] if 0 <= number < len(above) else None


def _called(file: ModalFile, call: ast.Call, depth: int) -> Path | None:
    name = file.names.qualname(call.func)
    if name in _MADE or name == "os.path.join":
        return _joined(file, call.args, depth)
    if name == "os.path.dirname" and call.args:
        held = read_path(file, call.args[0], depth + 1)
        return held.parent if held is not None else None
    if not isinstance(call.func, ast.Attribute):
        return None
    if call.func.attr == "joinpath":
        return _joined(file, [call.func.value, *call.args], depth)
    return read_path(file, call.func.value, depth + 1) if call.func.attr in _SAME else None
