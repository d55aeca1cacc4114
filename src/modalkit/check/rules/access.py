"""MK601 to MK604 and MK612: who may call an endpoint, and what is reachable behind it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from ..authentication import asks_who_calls, says_public
from ..commands import SPLICED, command_words
from ..declared import Decorator, ModalFile, Unit
from ..nodes import Function
from ..rule import Problem, rule
from .cost import WEB, gpu_usd_per_hour

__all__ = [
    "admin_routes_reachable",
    "cors_with_credentials",
    "public_endpoint",
    "public_gpu_endpoint",
    "sglang_without_admin_key",
]

_CURE = "requires_proxy_auth=True, a check of your own, or a comment at the decorator that it is public on purpose."


def _public(file: ModalFile) -> Iterator[tuple[Unit, Function, Decorator]]:
    """Endpoints that neither ask who calls nor say that they are public, each with its function."""
    for unit in file.units:
        for function, decorator in _endpoints(unit):
            if not decorator.options.lacks("requires_proxy_auth"):
                continue
            if not (says_public(file, function) or asks_who_calls(file, function, decorator)):
                yield unit, function, decorator


def _endpoints(unit: Unit) -> Iterator[tuple[Function, Decorator]]:
    found = [(one.node, decorator) for one in unit.members for decorator in one.decorators]
    if not isinstance(unit.node, ast.ClassDef):
        found += [(unit.node, decorator) for decorator in unit.decorators]
    yield from (pair for pair in found if pair[1].qualname in WEB)


@rule(
    "MK601",
    "public-gpu-endpoint",
    "warning",
    why="Anyone who finds the URL starts the GPU, and you pay for it.",
)
def public_gpu_endpoint(file: ModalFile) -> Iterator[Problem]:
    """An endpoint on a GPU that anyone may call, without saying so."""
    for unit, function, decorator in _public(file):
        price = gpu_usd_per_hour(file, unit)
        if price:
            name = unit.name if function is unit.node else f"{unit.name}.{function.name}"
            yield Problem(
                decorator.node,
                f"{name} is public and runs on a GPU of ${price:.2f} an hour.",
                _CURE,
            )


@rule(
    "MK602",
    "public-endpoint",
    "note",
    why="Web endpoints are public unless they say otherwise.",
)
def public_endpoint(file: ModalFile) -> Iterator[Problem]:
    """An endpoint without a GPU that anyone may call, without saying so."""
    for unit, function, decorator in _public(file):
        if unit.option("gpu") is None:
            name = unit.name if function is unit.node else f"{unit.name}.{function.name}"
            yield Problem(decorator.node, f"{name} is public.", _CURE)


@rule(
    "MK603",
    "admin-routes-reachable",
    "error",
    why="Anyone can put the engine to sleep, replace its weights or run code in it.",
)
def admin_routes_reachable(file: ModalFile) -> Iterator[Problem]:
    """VLLM's development mode, which opens routes without a key, behind a URL that anyone may call."""
    dev_mode = _dev_mode(file)
    if dev_mode is None:
        return
    for unit in file.units:
        if _is_open(file, unit) and any(
            "vllm" in text for body in unit.bodies for text in _texts_in(body)
        ):
            yield Problem(
                dev_mode,
                f"VLLM_SERVER_DEV_MODE opens /sleep, /collective_rpc and /update_weights, and {unit.name} is public.",
                "requires_proxy_auth=True, or leave the variable out.",
            )
            return


_DEV_MODE = "VLLM_SERVER_DEV_MODE"
_DEV_MODE_IN_COMMAND = re.compile(rf"\b{_DEV_MODE}=[\"']?1\b")


def _dev_mode(file: ModalFile) -> ast.AST | None:
    """Where the variable is set: in a dict, in ``os.environ``, as a keyword, in a command."""
    for name, value, at in _set_variables(file):
        if name == _DEV_MODE and str(file.names.constant(value)) == "1":
            return at
    for node in file.nodes.of(ast.Constant):
        if isinstance(node.value, str) and _DEV_MODE_IN_COMMAND.search(node.value):
            return node
    return None


def _set_variables(file: ModalFile) -> Iterator[tuple[str | None, ast.expr, ast.AST]]:
    for entries in file.nodes.of(ast.Dict):
        for key, value in zip(entries.keys, entries.values, strict=True):
            if key is not None:
                yield file.names.text(key), value, key
    for assign in file.nodes.of(ast.Assign):
        for target in assign.targets:
            if isinstance(target, ast.Subscript):
                yield file.names.text(target.slice), assign.value, assign
    for call in file.nodes.of(ast.Call):
        yield from ((one.arg, one.value, one) for one in call.keywords if one.arg == _DEV_MODE)
        if file.names.qualname(call.func) in _SETTERS and len(call.args) == 2:  # noqa: PLR2004
            yield file.names.text(call.args[0]), call.args[1], call


_SETTERS = {"os.environ.setdefault", "os.putenv"}


def _is_open(file: ModalFile, unit: Unit) -> bool:
    if unit.kind == "server":
        return file.names.constant(unit.options.value("unauthenticated")) is True
    return any(
        file.names.constant(decorator.options.value("requires_proxy_auth")) is not True
        for _, decorator in _endpoints(unit)
    )


def _texts_in(body: Function) -> Iterator[str]:
    for node in ast.walk(body):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@rule(
    "MK612",
    "sglang-without-admin-key",
    "warning",
    why="Without a key SGLang lets anyone release its memory, flush its cache or load other weights.",
)
def sglang_without_admin_key(file: ModalFile) -> Iterator[Problem]:
    """SGLang started without a key behind a URL that anyone may call."""
    for unit in file.units:
        if not _is_open(file, unit) or unit.kind == "service":
            continue
        for body in unit.bodies:
            for _, call in file.calls_in(body):
                words = [text for text, _ in command_words(file, call)]
                if _starts_sglang(words) and not _has_key(words):
                    yield Problem(
                        call,
                        f"SGLang is started without --admin-api-key, and {unit.name} is public.",
                        "requires_proxy_auth=True, or --admin-api-key with a key from a Secret.",
                    )


def _starts_sglang(words: list[str]) -> bool:
    known = all(word and "\0" not in word for word in words[1:])
    started = "sglang.launch_server" in words or words[:2] == ["sglang", "serve"]
    return started and (known or _values_alone(words))


def _values_alone(words: list[str]) -> bool:
    """Whether every word that is not known is what a flag takes, so that no flag is hidden."""
    return SPLICED not in words and all(
        (word and "\0" not in word) or before.startswith("--") for before, word in pairwise(words)
    )


def _has_key(words: list[str]) -> bool:
    return any(word.partition("=")[0] in {"--api-key", "--admin-api-key"} for word in words)


_ANY_ORIGIN = re.compile(r"\^?(?:https\?://|https?://)?\(?\.[*+]\)?\$?")
_CREDENTIALS = ("allow_credentials", "supports_credentials")


@rule(
    "MK604",
    "cors-with-credentials",
    "warning",
    why="Any web page can act as the visitor who is signed in.",
)
def cors_with_credentials(file: ModalFile) -> Iterator[Problem]:
    """Any origin (``"*"``, a regular expression that matches all) with credentials allowed."""
    for _, call in file.calls_in(file.source.tree):
        given = file.options(call).given
        credentials = next((given[name] for name in _CREDENTIALS if name in given), None)
        if credentials is None or file.names.constant(credentials.value) is not True:
            continue
        for name in ("allow_origins", "origins", "allow_origin_regex"):
            option = given.get(name)
            if option is not None and _is_any_origin(file, name, option.value):
                said = next(one for one in _CREDENTIALS if one in given)
                yield Problem(
                    option.at,
                    f"{name} lets any origin in, with {said}=True.",
                    f'allow_origins=["https://your.site"], or {said}=False.',
                )


def _is_any_origin(file: ModalFile, name: str, value: ast.expr) -> bool:
    for one in file.names.possible(value):
        entries = one.elts if isinstance(one, ast.List | ast.Tuple | ast.Set) else [one]
        for text in map(file.names.text, entries):
            if text == "*" and name != "allow_origin_regex":
                return True
            if text is not None and name == "allow_origin_regex" and _ANY_ORIGIN.fullmatch(text):
                return True
    return False
