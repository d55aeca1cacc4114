"""What an old ``modal.Mount`` takes along, as calls of ``Image.add_local_*``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..declared import ModalFile
from .draft import Draft

__all__ = ["Layers", "is_mount", "read_mounts"]

_MADE = {
    "from_local_dir": "add_local_dir",
    "from_local_file": "add_local_file",
    "from_local_python_packages": "add_local_python_source",
}
_ADDED = {"add_local_dir", "add_local_file"}
_MOUNT = {"modal.Mount", "modal.mount.Mount"}
_PACKAGES = "modal.create_package_mounts"


@dataclass(frozen=True, slots=True)
class Layers:
    """Mounts as text.

    Attributes:
        text: ``.add_local_dir("data", remote_path="/data")``, one after the other.
        safe: Whether the same files arrive at the same places.
    """

    text: str
    safe: bool = True

    def copied(self) -> str:
        """Return the text for steps that later steps of the build need."""
        return self.text[:-1] + ", copy=True)" if self.text.count(".add_local_") == 1 else ""


def is_mount(file: ModalFile, node: ast.expr) -> bool:
    """Whether an expression makes a mount."""
    if not isinstance(node, ast.Call):
        return False
    if file.names.qualname(node.func) in {_PACKAGES, *_MOUNT}:
        return True
    function = node.func
    if not isinstance(function, ast.Attribute):
        return False
    if file.names.qualname(function.value) in _MOUNT:
        return True
    return function.attr in _ADDED and is_mount(file, function.value)


def read_mounts(file: ModalFile, node: ast.expr, depth: int = 0) -> Layers | None:
    """Return what a value of ``mounts=`` adds to an image; None where it is not sure."""
    if depth > 5:  # noqa: PLR2004 - names of names of lists
        return None
    if isinstance(node, ast.List | ast.Tuple):
        return _joined([read_mounts(file, one, depth + 1) for one in node.elts])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _joined([read_mounts(file, one, depth + 1) for one in (node.left, node.right)])
    if isinstance(node, ast.Name):
        _, bindings = file.names.bindings(node)
        value = bindings[0].value if len(bindings) == 1 else None
        return None if value is None else read_mounts(file, value, depth + 1)
    if isinstance(node, ast.Starred):
        return read_mounts(file, node.value, depth + 1)
    return _one(file, node) if is_mount(file, node) else None


def _joined(parts: list[Layers | None]) -> Layers | None:
    if any(one is None for one in parts):
        return None
    found = [one for one in parts if one is not None]
    return Layers("".join(one.text for one in found), all(one.safe for one in found))


def _one(file: ModalFile, node: ast.expr) -> Layers | None:
    assert isinstance(node, ast.Call)  # noqa: S101 - `is_mount` has told
    draft = Draft(file)
    name = file.names.qualname(node.func)
    if name == _PACKAGES:
        return _packages(draft, node)
    if name in _MOUNT:
        return _constructed(draft, node)
    assert isinstance(node.func, ast.Attribute)  # noqa: S101 - a method of a mount
    method = node.func.attr
    if file.names.qualname(node.func.value) not in _MOUNT:
        before = _one(file, node.func.value)
        return _joined([before, _layer(draft, node, method)])
    if method == "from_local_python_packages":
        return _packages(draft, node)
    return _layer(draft, node, _MADE[method]) if method in _MADE else None


def _packages(draft: Draft, call: ast.Call) -> Layers | None:
    """Packages by name; a mount took every file of them along, not the Python files alone."""
    names: list[ast.expr] = []
    for one in [*call.args, *(one.value for one in call.keywords if one.arg == "module_names")]:
        names += one.elts if isinstance(one, ast.List | ast.Tuple) else [one]
    others = any(one.arg != "module_names" for one in call.keywords)
    if not all(isinstance(one, ast.Constant) for one in names) or others:
        return None
    written = ", ".join(draft.of(one) for one in names)
    return Layers(f".add_local_python_source({written}, ignore=[])")


def _constructed(draft: Draft, call: ast.Call) -> Layers | None:
    """``Mount("/data", local_dir="data")``, before there were methods for it."""
    given = {one.arg: draft.of(one.value) for one in call.keywords}
    if len(call.args) == 1:
        given.setdefault("remote_dir", draft.of(call.args[0]))
    if len(given) != len(call.args) + len(call.keywords):
        return None
    if set(given) != {"local_dir", "remote_dir"}:
        return None
    return Layers(f".add_local_dir({given['local_dir']}, remote_path={given['remote_dir']})")


def _layer(draft: Draft, call: ast.Call, method: str) -> Layers | None:
    given: dict[str, ast.expr] = {one.arg: one.value for one in call.keywords if one.arg}
    if len(given) != len(call.keywords) or len(call.args) > 2:  # noqa: PLR2004 - the two paths
        return None
    given.update(zip(("local_path", "remote_path"), call.args, strict=False))
    if "local_path" not in given or not set(given) <= _UNDERSTOOD:
        return None
    remote = _remote(draft, given, method)
    if remote is None:
        return None
    parts = [draft.of(given["local_path"]), f"remote_path={remote}"]
    safe = True
    for option, text in _filters(draft, given):
        safe = False
        parts.append(f"{option}={text}")
    return Layers(f".{method}({', '.join(parts)})", safe)


_UNDERSTOOD = {"local_path", "remote_path", "condition", "recursive"}


def _remote(draft: Draft, given: dict[str, ast.expr], method: str) -> str | None:
    """Where it goes; a mount put a path that was not absolute below the root."""
    remote = given.get("remote_path")
    if remote is None or (isinstance(remote, ast.Constant) and remote.value is None):
        name = _last(draft.file, given["local_path"])
        return None if name is None else f'"{PurePosixPath("/", name)}"'
    if isinstance(remote, ast.Constant) and isinstance(remote.value, str):
        absolute = str(PurePosixPath("/", remote.value))
        return draft.of(remote) if remote.value.startswith("/") else f'"{absolute}"'
    text = draft.of(remote)
    is_path = isinstance(remote, ast.Call) and draft.file.names.qualname(remote.func).endswith(
        "Path"
    )
    return f"str({text})" if is_path and method == "add_local_file" else text


def _last(file: ModalFile, local: ast.expr) -> str | None:
    """The last part of a local path, if it is written out."""
    text = file.names.text(local)
    if text is not None:
        return PurePosixPath(text).name if ".." not in text and text != "~" else None
    if isinstance(local, ast.BinOp) and isinstance(local.op, ast.Div):
        return _last(file, local.right)
    return None


def _filters(draft: Draft, given: dict[str, ast.expr]) -> Iterator[tuple[str, str]]:
    """The choice of files: what was taken along is now what is left out."""
    condition = given.get("condition")
    if condition is not None and not (
        isinstance(condition, ast.Constant) and condition.value is None
    ):
        text = draft.of(condition)
        called = text if isinstance(condition, ast.Name | ast.Attribute) else f"({text})"
        yield "ignore", f"lambda path: not {called}(str(path))"
        return
    recursive = given.get("recursive")
    if isinstance(recursive, ast.Constant) and recursive.value is False:
        yield "ignore", '["*/**"]'
