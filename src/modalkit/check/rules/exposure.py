"""MK203 to MK205: secrets that leave the container, and those that no Secret promises."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from ..credentials import is_secret_name
from ..declared import ModalFile, Unit
from ..nodes import Function
from ..rule import Problem, rule

__all__ = ["missing_required_key", "secret_in_image", "secret_printed"]

_LOGS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
_LOGGERS = ("logging.", "logger.", "log.", "loguru.logger.", "structlog.")
_PRINTERS = {"print", "pprint.pprint", "pprint.pp", "rich.print", "sys.stdout.write"}
_COPIES = {"dict", "str", "repr", "json.dumps", "pprint.pformat"}
_LISTS = {"list", "sorted", "tuple"}  # of the names alone, unless of the items
_ANSWERS = (
    "JSONResponse",
    "Response",
    "PlainTextResponse",
    "HTMLResponse",
    "ORJSONResponse",
    "jsonify",
)
_ENVIRONMENT = "os.environ"
_EVERYTHING = "os.environ, every secret in it,"


@rule(
    "MK203",
    "secret-printed",
    "warning",
    why="Logs and results are kept, and more people can read them than the Secret.",
)
def secret_printed(file: ModalFile) -> Iterator[Problem]:
    """A secret variable, or all of ``os.environ``, printed, logged, or returned from a remote function."""
    for name, call in file.calls_in(file.source.tree):
        if not _is_log(name, call):
            continue
        for argument in call.args:
            if (variable := _secret_shown(file, argument)) is not None:
                yield Problem(argument, f"{variable} is printed.", _instead(variable))
    for unit in file.units:
        yield from _returned(file, unit)


def _instead(variable: str) -> str:
    shown = "'NAME'" if variable == _EVERYTHING else repr(variable)
    return f"Print whether it is set: {shown} in os.environ."


def _is_log(name: str, call: ast.Call) -> bool:
    if name in _PRINTERS:
        return True
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    return method in _LOGS and name.startswith((*_LOGGERS, "logging.getLogger()"))


def _secret_shown(file: ModalFile, node: ast.expr) -> str | None:
    """What a value shows in full; a slice, a length or a comparison shows nothing."""
    if isinstance(node, ast.JoinedStr):
        parts = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        return _first(file, parts)
    if isinstance(node, ast.BinOp):
        return _first(file, [node.left, node.right])
    for possible in file.names.possible(node):
        if _is_environment(file, possible):
            return _EVERYTHING
        name = _environment_name(file, possible)
        if name is not None and is_secret_name(name):
            return name
    return None


def _first(file: ModalFile, nodes: list[ast.expr]) -> str | None:
    return next((found for one in nodes if (found := _secret_shown(file, one))), None)


def _is_environment(file: ModalFile, node: ast.expr) -> bool:
    """Whether a value is ``os.environ``, or a copy of all of it."""
    if isinstance(node, ast.Call):
        called = file.names.qualname(node.func)
        if called in {f"{_ENVIRONMENT}.copy", f"{_ENVIRONMENT}.items"}:
            return True
        inner = node.args[0] if node.args else None
        copied = called in _COPIES or (called in _LISTS and isinstance(inner, ast.Call))
        return copied and inner is not None and _is_environment(file, inner)
    if isinstance(node, ast.Dict):
        spread = (value for key, value in zip(node.keys, node.values, strict=True) if key is None)
        return any(_is_environment(file, one) for one in spread)
    return isinstance(node, ast.Attribute | ast.Name) and (
        file.names.qualname(node) == _ENVIRONMENT
    )


def _environment_name(file: ModalFile, node: ast.expr) -> str | None:
    if isinstance(node, ast.Subscript) and file.names.qualname(node.value) == _ENVIRONMENT:
        return file.names.text(node.slice)
    if (
        isinstance(node, ast.Call)
        and node.args
        and file.names.qualname(node.func) in {f"{_ENVIRONMENT}.get", "os.getenv"}
    ):
        return file.names.text(node.args[0])
    return None


def _returned(file: ModalFile, unit: Unit) -> Iterator[Problem]:
    for body in unit.bodies:
        if isinstance(unit.node, ast.ClassDef) and not any(
            one.node is body for one in unit.members
        ):
            continue  # a method that Modal does not run answers to the class alone
        answers: list[ast.Return | ast.Yield] = [*file.within(body, ast.Return)]
        for node in [*answers, *file.within(body, ast.Yield)]:
            if node.value is None or file.nodes.function(node) is not body:
                continue
            if (variable := _first(file, list(_answered(file, node.value)))) is not None:
                yield Problem(
                    node,
                    f"{body.name} returns {variable.rstrip(',')}.",
                    "Use the secret where it is, and return the result.",
                )


def _answered(file: ModalFile, node: ast.expr) -> Iterator[ast.expr]:
    """A value that is answered, and what a dict, a list or a response around it holds."""
    if isinstance(node, ast.Dict):
        yield node
        for one in node.values:
            yield from _answered(file, one)
    elif isinstance(node, ast.List | ast.Tuple | ast.Set):
        for one in node.elts:
            yield from _answered(file, one)
    elif isinstance(node, ast.Call) and file.names.qualname(node.func).endswith(_ANSWERS):
        for one in [*node.args, *(keyword.value for keyword in node.keywords)]:
            yield from _answered(file, one)
    else:
        yield node


@rule(
    "MK205",
    "secret-in-image",
    "warning",
    why="What an image is built with is stored in it as plain text, for everyone who may use it.",
)
def secret_in_image(file: ModalFile) -> Iterator[Problem]:
    """A secret of this machine that is copied into an image's ``env``, or into a command that builds it."""
    for call in file.nodes.of(ast.Call) if file.is_modal else ():
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if method == "env" and not _is_of_another(file, call):
            yield from _in_variables(file, call)
        elif method in _BUILD_COMMANDS:
            yield from _in_commands(file, call)


_BUILD_COMMANDS = {"run_commands", "dockerfile_commands"}
_IMAGES = ("modal.Image", "modalkit.")
_USER_OF_URL = re.compile(r"https?://[^/\s@]*$")


def _is_of_another(file: ModalFile, call: ast.Call) -> bool:
    """Whether what a method is called on is, for sure, an object of a class that is no image."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else call.func
    if isinstance(owner, ast.Name) and owner.id in {"self", "cls"}:
        return True
    return all(_makes_another(file, one) for one in file.names.possible(owner))


def _makes_another(file: ModalFile, made: ast.expr) -> bool:
    """Whether an expression makes an object of a class of this file, or of one with another name."""
    if not isinstance(made, ast.Call):
        return False
    if isinstance(made.func, ast.Name):
        _, bindings = file.names.bindings(made.func)
        if bindings:
            return all(isinstance(one.at, ast.ClassDef) for one in bindings)
    name = file.names.qualname(made).removesuffix("()")
    return name.rpartition(".")[2][:1].isupper() and not name.startswith(_IMAGES)


def _in_variables(file: ModalFile, call: ast.Call) -> Iterator[Problem]:
    given = call.args[0] if call.args else None
    pairs = zip(given.keys, given.values, strict=True) if isinstance(given, ast.Dict) else ()
    for key, value in pairs:
        variable = _secret_shown(file, value)
        name = file.names.text(key) or variable
        if variable is not None:
            yield Problem(
                value,
                f"{name} is read on this machine and written into the image.",
                "secrets=[modal.Secret.from_local_environ([...])] or Secret.from_name(...) of the function.",
            )


def _in_commands(file: ModalFile, call: ast.Call) -> Iterator[Problem]:
    for argument in call.args:
        for command in file.names.possible(argument):
            if not isinstance(command, ast.JoinedStr):
                continue
            secret = _secret_shown(file, command) or _user_of_url(file, command)
            if secret is not None:
                yield Problem(
                    command,
                    f"{secret.rstrip(',')} is filled in on this machine and stays in the image's layers.",
                    'secrets=[...] of the step, and "$NAME" in the command.',
                )


def _user_of_url(file: ModalFile, text: ast.JoinedStr) -> str | None:
    """What stands for a user or a password in a URL: ``https://{token}@github.com``.

    A text that the file itself says is no secret of this machine: ``USER = "git"``.
    """
    before = ""
    for value, behind in pairwise(text.values):
        if isinstance(value, ast.Constant):
            before += str(value.value)
            continue
        follows = isinstance(behind, ast.Constant) and str(behind.value).startswith("@")
        is_user = follows and _USER_OF_URL.search(before) is not None
        if isinstance(value, ast.FormattedValue) and is_user and not file.names.text(value.value):
            return file.source.segment(value.value)
        before += "\0"
    return None


@rule(
    "MK204",
    "no-required-keys",
    "note",
    why="Without required_keys a Secret that lacks the variable is noticed at the first request, not at the deploy.",
)
def missing_required_key(file: ModalFile) -> Iterator[Problem]:
    """A variable read with ``os.environ[...]`` that no Secret of the function promises."""
    for unit in file.units:
        secrets = _secrets(file, unit)
        if secrets is None:
            continue
        promised = {name for call in secrets for name in _promised(file, call)}
        silent = [call for call in secrets if file.options(call).lacks("required_keys")]
        read = {name for body in unit.bodies for name in _strictly_read(file, body)}
        missing = sorted(read - promised)
        if missing and len(silent) == 1:
            yield Problem(
                silent[0],
                f"{unit.name} needs {', '.join(missing)}, and the Secret does not promise it.",
                f"modal.Secret.from_name(..., required_keys={missing!r}).",
            )


def _secrets(file: ModalFile, unit: Unit) -> list[ast.Call] | None:
    """The named Secrets of a unit and its app; None where there may be others."""
    found: list[ast.Call] = []
    for value in (unit.options.value("secrets"), unit.defaults.value("secrets")):
        for listed in file.names.possible(value) if value is not None else ():
            if not isinstance(listed, ast.List | ast.Tuple):
                return None
            for entry in listed.elts:
                call = next(iter(file.names.possible(entry)))
                made = file.names.qualname(call.func) if isinstance(call, ast.Call) else ""
                if made != "modal.Secret.from_name" or not isinstance(call, ast.Call):
                    return None
                found.append(call)
    return found


def _promised(file: ModalFile, call: ast.Call) -> Iterator[str]:
    value = file.options(call).value("required_keys")
    for listed in file.names.possible(value) if value is not None else ():
        if isinstance(listed, ast.List | ast.Tuple):
            yield from (text for one in listed.elts if (text := file.names.text(one)))


def _strictly_read(file: ModalFile, body: Function) -> Iterator[str]:
    for node in file.within(body, ast.Subscript):
        if not isinstance(node.ctx, ast.Load):
            continue
        name = _environment_name(file, node)
        if name is not None and is_secret_name(name):
            yield name
