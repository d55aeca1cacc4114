"""MK30x: what images install, and in which order they are built."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..cures import pin_fix
from ..declared import ModalFile
from ..images import Image, Step, is_moving_tag
from ..packages import Install, installs
from ..pins import is_fragile, open_name
from ..rule import Problem, rule

__all__ = [
    "build_after_mount",
    "copied_where_mount_would_do",
    "floating_tag",
    "python_version_number",
    "unpinned_engine",
    "unpinned_requirement",
    "volatile_before_stable",
]


def _loose(file: ModalFile) -> Iterator[tuple[ast.Call, list[tuple[str, Install]]]]:
    """Each step with the requirements it leaves open, by name."""
    for image in file.images:
        for step in image.steps:
            loose = [
                (name, one)
                for one in installs(step, file.names)
                if (name := open_name(one.requirement)) is not None
            ]
            if loose:
                yield step.call, loose


@rule(
    "MK301",
    "unpinned-engine",
    "warning",
    why="The next build may get another release, which needs another CUDA, torch or flag.",
)
def unpinned_engine(file: ModalFile) -> Iterator[Problem]:
    """An inference engine or framework of which any newer release may come."""
    for _, loose in _loose(file):
        found = [one for name, one in loose if is_fragile(name, one.requirement)]
        if found:
            yield _unpinned(file, found)


@rule(
    "MK302",
    "unpinned-requirement",
    "note",
    why="The next build may get another release.",
)
def unpinned_requirement(file: ModalFile) -> Iterator[Problem]:
    """Another package without an exact version."""
    for _, loose in _loose(file):
        found = [one for name, one in loose if not is_fragile(name, one.requirement)]
        if found:
            yield _unpinned(file, found)


def _unpinned(file: ModalFile, found: list[Install]) -> Problem:
    texts = list(dict.fromkeys(one.requirement for one in found))
    names = [re.split(r"[<>=!~@;\s]", text)[0] for text in texts]
    return Problem(
        found[0].at,
        f"{', '.join(texts)} {'has' if len(texts) == 1 else 'have'} no exact version.",
        f"{names[0]}==VERSION; `modalkit lock` writes the versions that are newest today.",
        pin_fix(file, found),
    )


@rule(
    "MK303",
    "floating-tag",
    "warning",
    why="The tag moves, so the same file builds another image next month.",
)
def floating_tag(file: ModalFile) -> Iterator[Problem]:
    """A registry image without a tag, or with ``latest``."""
    for call in _from_registry(file):
        # What an environment variable may say otherwise is the default where it says nothing.
        texts = [file.names.text(one) for one in file.names.possible(call.args[0])]
        tag = texts[0] if len(texts) == 1 else file.names.text(call.args[0])
        if tag is not None and is_moving_tag(tag):
            name = tag.rpartition(":")[0] if ":" in tag.rpartition("/")[2] else tag
            yield Problem(
                call.args[0], f"{tag!r} names no version.", f"{name}:VERSION, or @sha256:...."
            )


_RAW_IMAGE = "modal.experimental.raw_registry_image"


def _from_registry(file: ModalFile) -> Iterator[ast.Call]:
    """The calls that name an image of a registry, each once."""
    bases = (one.base_call for one in file.images if one.base == "from_registry")
    raw = (call for name, call in file.calls if name == _RAW_IMAGE)
    found = dict.fromkeys(one for one in (*bases, *raw) if one is not None and one.args)
    yield from found


# What takes an image as it is and adds nothing to it.
_TAKE_IMAGES = {"function", "cls", "server", "App", "create"}
_COPIES = {"add_local_dir", "add_local_file", "add_local_python_source"}
_STABLE = {"apt_install", "pip_install", "uv_pip_install", "micromamba_install"}


def _copy(file: ModalFile, step: Step) -> bool | None:
    """Whether a step copies local files into the image; None for another step or an unclear one."""
    if step.method not in _COPIES:
        return None
    options = file.options(step.call)
    given = options.given.get("copy")
    if given is None:
        return False if options.complete else None
    value = file.names.constant(given.value)
    return value if isinstance(value, bool) else None


@rule(
    "MK307",
    "volatile-before-stable",
    "warning",
    why="Every change of a local file builds all layers after it anew, for minutes.",
)
def volatile_before_stable(file: ModalFile) -> Iterator[Problem]:
    """A folder or package of yours copied into the image before packages are installed."""
    for image in file.images:
        for index, step in enumerate(image.steps):
            if step.method == "add_local_file" or not _copy(file, step):
                continue
            later = [one for one in image.steps[index + 1 :] if one.method in _STABLE]
            if later and not _reads_files(file, later[0]):
                yield Problem(
                    _named(step.call),
                    f"{step.method} copies before {later[0].method}.",
                    f"{step.method} after the packages; without copy=True where no build step needs it.",
                )
                break


def _reads_files(file: ModalFile, step: Step) -> bool:
    texts = [file.names.text(argument) for argument in step.call.args]
    return any(text is None or text.startswith((".", "/", "-")) for text in texts)


def _named(call: ast.Call) -> ast.AST:
    """Point at the end of a chain: the arguments of the call, or the call."""
    return call.args[0] if call.args else call


@rule(
    "MK308",
    "build-after-mount",
    "error",
    why="Modal refuses to build it: files that are added when a container starts are not there for a build step.",
)
def build_after_mount(file: ModalFile) -> Iterator[Problem]:
    """A build step after ``add_local_*`` without ``copy=True``."""
    for image in file.images:
        for index, step in enumerate(image.steps[:-1]):
            following = image.steps[index + 1]
            if _copy(file, step) is False and following.method not in {
                *_COPIES,
                "imports",
                "build",
            }:
                yield Problem(
                    _named(following.call),
                    f"{following.method} follows {step.method} without copy=True.",
                    f"{step.method} last, or {step.method}(..., copy=True).",
                )
                break


@rule(
    "MK309",
    "copied-where-mount-would-do",
    "note",
    why="A copy is built into the image anew with every change; a mount is there in a second.",
)
def copied_where_mount_would_do(file: ModalFile) -> Iterator[Problem]:
    """``copy=True`` although no build step follows."""
    for image in file.images:
        for index, step in enumerate(image.steps):
            rest = image.steps[index + 1 :]
            if (
                _copy(file, step)
                and all(one.method in _COPIES for one in rest)
                and not _is_extended(file, image)
                and not _is_handed_on(file, image)
            ):
                yield Problem(
                    _named(step.call),
                    f"{step.method}(copy=True), and no build step follows.",
                    f"{step.method} without copy=True.",
                )


def _is_extended(file: ModalFile, image: Image) -> bool:
    """Whether another image of the file goes on from this one."""
    length = len(image.steps)
    return any(
        len(other.steps) > length and other.steps[:length] == image.steps for other in file.images
    )


def _is_handed_on(file: ModalFile, image: Image) -> bool:
    """Whether a function returns an image, keeps it in an object or gives it to another, to build on."""
    last = image.steps[-1].call
    function = file.nodes.function(last)
    if function is None:
        return False
    given: list[ast.expr | None] = [one.value for one in file.within(function, ast.Return)]
    given += [one.value for one in file.within(function, ast.Yield)]
    given += [
        one.value
        for one in file.within(function, ast.Assign)
        if isinstance(one.targets[0], ast.Attribute | ast.Subscript)
    ]
    for name, call in file.calls_in(function):
        if name.rpartition(".")[2] not in _TAKE_IMAGES:
            given += [*call.args, *(one.value for one in call.keywords)]
    return any(last in _held(file, one) for one in given if one is not None)


def _held(file: ModalFile, given: ast.expr) -> set[ast.expr]:
    """What a value may be, and what the dicts, lists and tuples hold that it may be."""
    waiting, found = [given], set[ast.expr]()
    while waiting:
        for one in file.names.possible(waiting.pop()):
            if one not in found:
                found.add(one)
                waiting += _items(one)
    return found


def _items(node: ast.expr) -> list[ast.expr]:
    """The values of a dict, the items of a list or tuple, and what a comprehension makes of each."""
    if isinstance(node, ast.Dict):
        return node.values
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return node.elts
    if isinstance(node, ast.Starred | ast.DictComp):
        return [node.value]
    return [node.elt] if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp) else []


@rule(
    "MK310",
    "python-version-number",
    "error",
    why="A number loses its last zero: 3.10 is 3.1; Modal takes a string and raises.",
)
def python_version_number(file: ModalFile) -> Iterator[Problem]:
    """``python_version=3.10`` instead of ``"3.10"``."""
    for _, call in file.calls:
        for keyword in call.keywords:
            if keyword.arg not in {"python_version", "add_python"}:
                continue
            value = keyword.value
            if isinstance(value, ast.Constant) and isinstance(value.value, float | int):
                written = file.source.segment(value)
                yield Problem(
                    value, f"{keyword.arg}={written} is a number.", f'{keyword.arg}="{written}".'
                )
