"""MK201, 202 and 206: keys that are written down."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..credentials import is_key, is_placeholder, is_secret_name, looks_random, shown
from ..declared import ModalFile
from ..rule import Problem, rule

__all__ = [
    "env_file_in_image",
    "key_in_code",
    "key_under_secret_name",
]

_CURE = 'modal secret create NAME {key}=..., secrets=[modal.Secret.from_name("NAME")], os.environ[{key!r}].'
_SET_IN_TEXT = re.compile(
    r"(?:^|\s|;|&&)(?:ENV|ARG|export)\s+(?P<name>[A-Z][A-Z0-9_]*)[=\s]\s*[\"']?(?P<value>[^\s\"';]+)"
)


@rule(
    "MK201",
    "key-in-code",
    "error",
    why="Everyone who can read the file, its history or the image has the key; revoke it, since it has been written down.",
)
def key_in_code(file: ModalFile) -> Iterator[Problem]:
    """A literal with the shape of a vendor's key, or a database URL with a password."""
    for node in file.nodes.of(ast.Constant):
        if isinstance(node.value, str) and len(node.value) >= 16 and is_key(node.value):  # noqa: PLR2004 - the shortest key
            yield Problem(
                node,
                f"A key stands in the code: {shown(node.value)}.",
                'modal secret create NAME KEY=..., then secrets=[modal.Secret.from_name("NAME")] and os.environ["KEY"].',
            )


@rule(
    "MK202",
    "secret-value-in-code",
    "error",
    why="An environment variable, an image layer and a default are all stored as plain text.",
)
def key_under_secret_name(file: ModalFile) -> Iterator[Problem]:
    """A random-looking literal under a name such as ``API_KEY``."""
    for name, value in _named_values(file):
        text = file.names.text(value)
        if text is None or not is_secret_name(name) or is_placeholder(text):
            continue
        if looks_random(text) and not is_key(text):  # MK201 has said the latter
            yield Problem(
                value, f"{name} is given a literal: {shown(text)}.", _CURE.format(key=name.upper())
            )
    yield from _set_in_build_steps(file)


def _named_values(file: ModalFile) -> Iterator[tuple[str, ast.expr]]:
    """Every literal that is given a name: in dicts, by assignment, as a keyword, as a default."""
    for name, value in _all_named(file):
        if name and isinstance(value, ast.Constant):
            yield name, value


def _all_named(file: ModalFile) -> Iterator[tuple[str | None, ast.expr | None]]:
    for entries in file.nodes.of(ast.Dict):
        for key, value in zip(entries.keys, entries.values, strict=True):
            yield file.names.text(key), value
    for assign in file.nodes.of(ast.Assign):
        yield from ((_target_name(file, target), assign.value) for target in assign.targets)
    for call in file.nodes.of(ast.Call):
        yield from ((keyword.arg, keyword.value) for keyword in call.keywords)
    for function in file.nodes.functions:
        yield from _defaults(function.args)


def _target_name(file: ModalFile, target: ast.expr) -> str | None:
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Subscript):
        return file.names.text(target.slice)
    return target.attr if isinstance(target, ast.Attribute) else None


def _defaults(args: ast.arguments) -> Iterator[tuple[str, ast.expr | None]]:
    positional = [*args.posonlyargs, *args.args]
    paired = [*zip(positional[len(positional) - len(args.defaults) :], args.defaults, strict=True)]
    both = [*paired, *zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    yield from ((one.arg, default) for one, default in both)


def _set_in_build_steps(file: ModalFile) -> Iterator[Problem]:
    for image in file.images:
        for step in image.steps:
            if step.method not in {"dockerfile_commands", "run_commands"}:
                continue
            for node in ast.walk(step.call):
                if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                    continue
                for found in _SET_IN_TEXT.finditer(node.value):
                    name, value = found["name"], found["value"]
                    if is_secret_name(name) and looks_random(value) and not is_key(node.value):
                        yield Problem(
                            node,
                            f"A build step sets {name} to a literal: {shown(value)}.",
                            _CURE.format(key=name),
                        )


@rule(
    "MK206",
    "env-file-in-image",
    "error",
    why="The file's keys are in the image, for everyone who may use it.",
)
def env_file_in_image(file: ModalFile) -> Iterator[Problem]:
    """A ``.env`` file copied or mounted into the image."""
    for image in file.images:
        for step in image.steps:
            path = file.names.text(step.call.args[0]) if step.call.args else None
            if (
                step.method in {"add_local_file", "copy_local_file"}
                and path
                and re.search(r"(^|/)\.env(\.\w+)?$", path)
            ):
                yield Problem(
                    step.call.args[0],
                    f"{path!r} goes into the image.",
                    "secrets=[modal.Secret.from_dotenv()].",
                )
