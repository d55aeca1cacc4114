"""MK403 and MK406: what functions write to their Volumes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..declared import ModalFile, Unit
from ..nodes import Function
from ..rule import Problem, rule

__all__ = ["volume_not_committed", "write_to_read_only"]

_WRITES = {
    "to_csv",
    "to_parquet",
    "to_json",
    "save_pretrained",
    "savefig",
    "save_model",
}
_WRITERS = {
    "torch.save",
    "shutil.copy",
    "shutil.copytree",
    "shutil.move",
    "joblib.dump",
    "numpy.save",
    "os.makedirs",
    "os.mkdir",
}
_SECOND = {"torch.save", "shutil.copy", "shutil.copytree", "shutil.move", "joblib.dump"}
_ON_PATH = {"write_text", "write_bytes", "mkdir"}


def _mounts(file: ModalFile, unit: Unit) -> dict[str, ast.expr]:
    """Mount paths with what is mounted there."""
    value = unit.option("volumes")
    if isinstance(value, ast.Name):
        value = file.names.latest(value)
    if not isinstance(value, ast.Dict):
        return {}
    found = {}
    for key, mounted in zip(value.keys, value.values, strict=True):
        path = file.names.text(key) if key is not None else None
        if path is not None:
            found[path.rstrip("/")] = mounted
    return found


def _written(file: ModalFile, body: Function) -> Iterator[tuple[str, ast.Call]]:
    """Paths that a function writes to, as far as they are constants."""
    for name, call in file.calls_in(body):
        target = _target(file, name, call)
        path = _prefix(file, target) if target is not None else None
        if path is not None:
            yield path, call


def _target(file: ModalFile, name: str, call: ast.Call) -> ast.expr | None:
    """The path that a call writes to: an argument, or the object whose method it is."""
    if any(one.arg == "exist_ok" for one in call.keywords):
        return None  # nothing is written where the directory is there
    if name == "open":
        return call.args[0] if _opens_to_write(file, call, 1) else None
    if name in _WRITERS:
        return next(iter(call.args[1 if name in _SECOND else 0 :]), None)
    if not isinstance(call.func, ast.Attribute):
        return None
    method = call.func.attr
    if method in _ON_PATH or (method == "open" and _opens_to_write(file, call, 0)):
        return call.func.value
    return call.args[0] if method in _WRITES and call.args else None


def _opens_to_write(file: ModalFile, call: ast.Call, position: int) -> bool:
    """Whether a call of ``open`` has a mode that writes, by keyword or at this position."""
    named = [one.value for one in call.keywords if one.arg == "mode"]
    modes = [*named, *call.args[position : position + 1]]
    return len(call.args) >= position and any(
        set(file.names.text(mode) or "") & set("wax+") for mode in modes
    )


def _prefix(file: ModalFile, node: ast.expr) -> str | None:
    """The beginning of a path that is known: of an f-string, a sum, ``Path("/data") / name``."""
    text = file.names.text(node)
    if text is not None:
        return text
    if isinstance(node, ast.JoinedStr) and node.values:
        first = node.values[0]
        inner = first.value if isinstance(first, ast.FormattedValue) else first
        return file.names.text(inner)
    if isinstance(node, ast.BinOp):
        return _prefix(file, node.left)
    if (
        isinstance(node, ast.Call)
        and node.args
        and file.names.qualname(node.func) in {"pathlib.Path", "os.path.join", "str"}
    ):
        return _prefix(file, node.args[0])
    if isinstance(node, ast.Name):
        value = file.names.latest(node)
        return (
            _prefix(file, value) if value is not None and not isinstance(value, ast.Name) else None
        )
    return None


def _under(path: str, mount: str) -> bool:
    return path == mount or path.startswith(mount + "/")


@rule(
    "MK403",
    "volume-not-committed",
    "note",
    why="Modal commits in the background, so another container sees the files only some time later.",
)
def volume_not_committed(file: ModalFile) -> Iterator[Problem]:
    """A function that writes to a Volume, in a file that nowhere commits, and where another one reads it."""
    if re.search(r"\.commit\b", file.source.text):
        return
    for unit in file.units:
        mounts = _mounts(file, unit)
        shared = {
            path
            for path, mounted in mounts.items()
            if not _is_read_only(file, mounted)
            and any(path in _mounts(file, other) for other in file.units if other is not unit)
        }
        for body in unit.bodies:
            for path, call in _written(file, body):
                if any(_under(path, mount) for mount in shared):
                    yield Problem(
                        call,
                        f"{body.name} writes to the Volume at {path!r}, and nothing commits it.",
                        "volume.commit() after the last write; volume.reload() before the read.",
                    )


@rule(
    "MK406",
    "write-to-read-only",
    "error",
    why="The write fails in the container: OSError, read-only file system.",
)
def write_to_read_only(file: ModalFile) -> Iterator[Problem]:
    """A write under a Volume that is mounted read-only."""
    for unit in file.units:
        closed = [
            path for path, mounted in _mounts(file, unit).items() if _is_read_only(file, mounted)
        ]
        for body in unit.bodies if closed else ():
            for path, call in _written(file, body):
                mount = next((one for one in closed if _under(path, one)), None)
                if mount is not None:
                    yield Problem(
                        call,
                        f"{body.name} writes to {path!r}, and {mount!r} is mounted read-only.",
                        "The Volume without read_only(), or a path outside of it.",
                    )


def _is_read_only(file: ModalFile, node: ast.expr) -> bool:
    for possible in file.names.possible(node):
        if not isinstance(possible, ast.Call) or not isinstance(possible.func, ast.Attribute):
            return False
        options = file.options(possible).given
        method = possible.func.attr
        if not (
            method == "read_only" or (method == "with_mount_options" and "read_only" in options)
        ):
            return False
        if "read_only" in options and file.names.constant(options["read_only"].value) is not True:
            return False
    return True
