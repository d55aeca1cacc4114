"""MK807, MK808, MK821, MK822: steps of images that are written differently now."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from ..declared import ModalFile
from ..findings import Edit
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .old_code import app_calls, outdated

__all__ = ["conda_image", "copied_files", "old_python", "pip_flags"]

_IMAGE = "modal.Image()"
_FOLDERS = {"/", "/root", "/tmp", "/home", "/opt", "/mnt", "/usr/local", "/usr/local/bin", "/etc"}  # noqa: S108 - places in an image
_OLDEST = (3, 11)  # what modal 1.7 will build


@rule("MK807", "copied-files", "error", why="The method is gone, so the file does not import.")
def copied_files(file: ModalFile) -> Iterator[Problem]:
    """Local files copied with ``copy_local_file`` and ``copy_local_dir``."""
    for name, call in app_calls(file):
        method = name.removeprefix(f"{_IMAGE}.")
        if method in {"copy_local_file", "copy_local_dir"} and isinstance(call.func, ast.Attribute):
            yield _copy(file, call, call.func, method)


def _copy(file: ModalFile, call: ast.Call, function: ast.Attribute, method: str) -> Problem:
    known = change(method.replace("_", "-"))
    draft = Draft(file)
    new = method.replace("copy_", "add_")
    paths = _paths(call)
    words = f"Write .{new}(local_path, remote_path, copy=True); remote_path is absolute."
    if paths is None:
        return outdated(known, function, words)
    remote = paths[1]
    place = _absolute(file, call, remote, is_file=method == "copy_local_file")
    if place is None:
        edits = _copy_command(draft, call, function, method)
        return outdated(known, function, words, edits)
    edits = [draft.rename(function, new)]
    if remote is None:
        edits.append(draft.add_keyword(call, f'remote_path="{place}", copy=True'))
    else:
        edits.append(draft.add_keyword(call, "copy=True"))
        if place != file.names.text(remote) and isinstance(remote, ast.Constant):
            edits.append(draft.replace(remote, f'"{place}"'))
    return outdated(known, function, f"Write .{new}(..., copy=True).", edits)


def _paths(call: ast.Call) -> tuple[ast.expr, ast.expr | None] | None:
    given: dict[str | None, ast.expr] = {one.arg: one.value for one in call.keywords}
    given.update(zip(("local_path", "remote_path"), call.args, strict=False))
    local = given.get("local_path")
    starred = any(isinstance(one, ast.Starred) for one in call.args)
    return None if local is None or None in given or starred else (local, given.get("remote_path"))


def _absolute(
    file: ModalFile, call: ast.Call, remote: ast.expr | None, *, is_file: bool
) -> str | None:
    """Where the files go, when that is an absolute path for sure.

    A path into a folder that every image has names the folder: COPY puts a file into it.
    """
    if remote is not None and file.names.text(remote) is None:
        starts = remote.values[0] if isinstance(remote, ast.JoinedStr) and remote.values else None
        sure = isinstance(starts, ast.Constant) and str(starts.value).startswith("/")
        return "/" if sure else None
    written = "./" if remote is None else file.names.text(remote) or "./"
    place = written if written.startswith("/") else None
    folder = _workdir(file, call)
    if place is None and folder is not None:
        ends = "/" if written.endswith("/") or written == "." else ""
        place = str(PurePosixPath(folder, written)) + ends
    if place is None or not is_file:
        return place if place is None or place == "/" else place.rstrip("/")
    if place.rstrip("/") == (folder or "").rstrip("/") or (place.rstrip("/") or "/") in _FOLDERS:
        place = place.rstrip("/") + "/"
    return place


def _workdir(file: ModalFile, call: ast.Call) -> str | None:
    """The last absolute ``workdir`` before a step of the same chain."""
    node: ast.expr = call
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        node = node.func.value
        function = getattr(node, "func", None)
        if isinstance(node, ast.Call) and getattr(function, "attr", "") == "workdir" and node.args:
            text = file.names.text(node.args[0])
            return text if text is not None and text.startswith("/") else None
    return None


def _copy_command(draft: Draft, call: ast.Call, function: ast.Attribute, method: str) -> list[Edit]:
    """``COPY`` itself, for a place that depends on the image's working directory."""
    names, paths = draft.file.names, _paths(call)
    local = names.text(paths[0]) if paths is not None else None
    remote = "./" if paths is None or paths[1] is None else names.text(paths[1])
    if local is None or remote is None or len(call.args) + len(call.keywords) > 2:  # noqa: PLR2004
        return []
    plain = (
        not local.startswith(("/", "~"))
        and ".." not in local
        and not set(' "') & set(local + remote)
    )
    if not plain or (method == "copy_local_dir" and local.rstrip("./") == ""):
        return []
    text = f'.dockerfile_commands("COPY {local} {remote}")'
    return [draft.edit(draft.end(function.value), draft.end(call), text)]


# -- conda


@rule("MK808", "conda-image", "error", why="The method is gone, so the file does not import.")
def conda_image(file: ModalFile) -> Iterator[Problem]:
    """Images with conda, which became micromamba."""
    draft = Draft(file)
    runs_conda = any(
        isinstance(node.value, str) and node.value.lstrip().startswith("conda ")
        for node in file.nodes.of(ast.Constant)
    )
    for name, call in app_calls(file):
        if not isinstance(call.func, ast.Attribute):
            continue
        known, edits = None, []
        if name == "modal.Image.conda":
            known, edits = change("conda"), [draft.rename(call.func, "micromamba")]
        elif name == f"{_IMAGE}.conda_install":
            known = change("conda-install")
            edits = [draft.rename(call.func, "micromamba_install"), *_channels(draft, call)]
        elif name == f"{_IMAGE}.conda_update_from_environment":
            known, edits = change("conda-environment"), _environment(draft, call, call.func)
        if known is not None:
            safe = known.is_safe and not runs_conda
            yield outdated(known, call.func, "", edits, safe=safe)


def _channels(draft: Draft, call: ast.Call) -> list[Edit]:
    """Conda images looked into conda-forge by themselves."""
    if any(one.arg in {"channels", None} for one in call.keywords) or not call.args:
        return []
    return [draft.add_keyword(call, 'channels=["conda-forge"]')]


def _environment(draft: Draft, call: ast.Call, function: ast.Attribute) -> list[Edit]:
    renamed = draft.rename(function, "micromamba_install")
    for keyword in call.keywords:
        if keyword.arg == "environment_yml":
            return [renamed, draft.rename(keyword, "spec_file")]
    if len(call.args) != 1:
        return []
    return [renamed, draft.insert(draft.start(call.args[0]), "spec_file=")]


# -- pip and Python


@rule("MK821", "pip-flags", "error", why="Modal takes each of them for the name of a package.")
def pip_flags(file: ModalFile) -> Iterator[Problem]:
    """Flags for pip among the packages to install."""
    known, draft = change("pip-flags"), Draft(file)
    for name, call in app_calls(file):
        if name != f"{_IMAGE}.pip_install":
            continue
        flags = [one for one in call.args if (file.names.text(one) or "").startswith("-")]
        if not flags:
            continue
        text = " ".join(str(file.names.text(one)) for one in flags)
        taken = any(one.arg in {"extra_options", None} for one in call.keywords)
        values = any(file.names.text(one) in _TAKE_A_VALUE for one in flags)
        edits = [
            draft.add_keyword(call, f'extra_options="{text}"'),
            *draft.remove_argument(call, *flags),
        ]
        sure = not taken and not values and '"' not in text
        yield outdated(known, flags[0], f'Write extra_options="{text}".', edits if sure else None)


_TAKE_A_VALUE = {"-r", "-i", "-f", "-c", "--index-url", "--extra-index-url", "--find-links", "-e"}


@rule(
    "MK822",
    "old-python",
    "warning",
    why="Modal does not build images with a Python that is no longer kept up.",
)
def old_python(file: ModalFile) -> Iterator[Problem]:
    """An image with Python 3.10 or older."""
    draft = Draft(file)
    for name, call in app_calls(file):
        if not name.startswith("modal.Image."):
            continue
        given: list[ast.expr] = [
            one.value for one in call.keywords if one.arg in {"python_version", "add_python"}
        ]
        if name.endswith((".debian_slim", ".micromamba")) and call.args:
            given.append(call.args[0])
        for value in given:
            version = _version(file.names.text(value))
            if version is None or version >= _OLDEST:
                continue
            known = change("python-310" if version == (3, 10) else "old-python")
            written = isinstance(value, ast.Constant)
            edits = [draft.replace(value, '"3.11"')] if written else None
            yield outdated(known, value, 'Write "3.11" or later.', edits)


def _version(text: str | None) -> tuple[int, int] | None:
    parts = (text or "").split(".")
    if len(parts) < 2 or not all(part.isdigit() for part in parts[:2]):  # noqa: PLR2004
        return None
    return int(parts[0]), int(parts[1])
