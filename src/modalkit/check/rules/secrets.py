"""MK2xx: keys in code, keys that leave the container."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..credentials import is_key, is_placeholder, is_secret_name, looks_random, shown
from ..declared import ModalFile, Unit
from ..nodes import Function
from ..rule import Problem, rule

__all__ = [
    "env_file_in_image",
    "key_in_code",
    "key_under_secret_name",
    "missing_required_key",
    "secret_printed",
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
    "MK203",
    "secret-printed",
    "warning",
    why="Logs and results are kept, and more people can read them than the Secret.",
)
def secret_printed(file: ModalFile) -> Iterator[Problem]:
    """A secret variable printed, logged, or returned from a remote function."""
    for name, call in file.calls_in(file.source.tree):
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        is_log = name == "print" or (
            name.startswith(("logging.", "logger.", "log.")) and method in _LOGS
        )
        if not is_log and not (name.startswith("logging.getLogger()") and method in _LOGS):
            continue
        for argument in call.args:
            if (variable := _secret_shown(file, argument)) is not None:
                yield Problem(
                    argument,
                    f"{variable} is printed.",
                    f"Print whether it is set: {variable!r} in os.environ.",
                )
    for unit in file.units:
        yield from _returned(file, unit)


_LOGS = {"debug", "info", "warning", "error", "critical", "exception"}


def _secret_shown(file: ModalFile, node: ast.expr) -> str | None:
    """The variable a value shows in full; a slice, a length or a comparison shows none."""
    if isinstance(node, ast.JoinedStr):
        parts = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        return next((found for part in parts if (found := _secret_shown(file, part))), None)
    if isinstance(node, ast.BinOp):
        return _secret_shown(file, node.left) or _secret_shown(file, node.right)
    for possible in file.names.possible(node):
        name = _environment_name(file, possible)
        if name is not None and is_secret_name(name):
            return name
    return None


def _environment_name(file: ModalFile, node: ast.expr) -> str | None:
    if isinstance(node, ast.Subscript) and file.names.qualname(node.value) == "os.environ":
        return file.names.text(node.slice)
    if (
        isinstance(node, ast.Call)
        and node.args
        and file.names.qualname(node.func) in {"os.environ.get", "os.getenv"}
    ):
        return file.names.text(node.args[0])
    return None


def _returned(file: ModalFile, unit: Unit) -> Iterator[Problem]:
    for body in unit.bodies:
        if isinstance(unit.node, ast.ClassDef) and not any(
            one.node is body for one in unit.members
        ):
            continue  # a method that Modal does not run answers to the class alone
        for node in file.within(body, ast.Return):
            if node.value is None or file.nodes.function(node) is not body:
                continue
            if (variable := _secret_shown(file, node.value)) is not None:
                yield Problem(
                    node,
                    f"{body.name} returns {variable}.",
                    "Use the secret where it is, and return the result.",
                )


@rule(
    "MK204",
    "no-required-keys",
    "note",
    why="Without required_keys a Secret that lacks the variable is noticed at the first request, not at the deploy.",
)
def missing_required_key(file: ModalFile) -> Iterator[Problem]:
    """A variable read with ``os.environ[...]`` that no Secret of the function promises."""
    for unit in file.units:
        secrets = unit.options.value("secrets")
        if not isinstance(secrets, ast.List | ast.Tuple) or len(secrets.elts) != 1:
            continue
        call = next(iter(file.names.possible(secrets.elts[0])))
        if (
            not isinstance(call, ast.Call)
            or file.names.qualname(call.func) != "modal.Secret.from_name"
        ):
            continue
        if not file.options(call).lacks("required_keys"):
            continue
        read = sorted({name for body in unit.bodies for name in _strictly_read(file, body)})
        if read:
            yield Problem(
                call,
                f"{unit.name} needs {', '.join(read)}, and the Secret does not promise it.",
                f"modal.Secret.from_name(..., required_keys={read!r}).",
            )


def _strictly_read(file: ModalFile, body: Function) -> Iterator[str]:
    for node in file.within(body, ast.Subscript):
        if not isinstance(node.ctx, ast.Load):
            continue
        name = _environment_name(file, node)
        if name is not None and is_secret_name(name):
            yield name


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
