"""MK825, MK826, MK827: decorators of the early versions, and what web functions need now."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..declared import ModalFile, Unit
from ..findings import Edit, Fix
from ..rule import Problem, rule
from .changes import change
from .draft import Draft
from .old_code import outdated
from .spelling import spell

__all__ = ["bare_decorator", "early_web", "fastapi_fix", "web_arguments"]

_WEB = {"webhook": "fastapi_endpoint", "asgi": "asgi_app", "wsgi": "wsgi_app"}
_CHANGES = {"webhook": "webhook", "asgi": "stub-asgi", "wsgi": "stub-wsgi"}
_ENDPOINT = {"method", "label", "docs", "custom_domains", "requires_proxy_auth"}
_GONE = {"wait_for_response"}
_CALLED = {
    "modal.App().function", "modal.App().cls", "modal.App().local_entrypoint", "modal.method",
    "modal.enter", "modal.exit", "modal.build", "modal.web_endpoint", "modal.fastapi_endpoint",
    "modal.asgi_app", "modal.wsgi_app", "modal.App().webhook", "modal.App().asgi",
    "modal.App().wsgi",
}  # fmt: skip


@rule("MK825", "bare-decorator", "error", why="Modal refuses it when the file is imported.")
def bare_decorator(file: ModalFile) -> Iterator[Problem]:
    """A decorator of Modal without parentheses."""
    draft, known = Draft(file), change("bare-decorator")
    for node in file.nodes.definitions:
        for one in node.decorator_list:
            if isinstance(one, ast.Call) or file.names.qualname(one) not in _CALLED:
                continue
            words = f"Write @{draft.of(one)}()."
            yield outdated(known, one, words, [draft.insert(draft.end(one), "()")])


@rule(
    "MK827", "early-web", "error", why="The app has no such decorator, so the file does not import."
)
def early_web(file: ModalFile) -> Iterator[Problem]:
    """``@stub.webhook`` and its kin."""
    for node in file.nodes.functions:
        for one in node.decorator_list:
            function = one.func if isinstance(one, ast.Call) else None
            if not isinstance(function, ast.Attribute) or function.attr not in _WEB:
                continue
            if file.names.qualname(function.value) == "modal.App()":
                assert isinstance(one, ast.Call)  # noqa: S101 - it has a function
                yield _web(file, one, function)


def _web(file: ModalFile, call: ast.Call, function: ast.Attribute) -> Problem:
    draft = Draft(file)
    known = change(_CHANGES[function.attr])
    spelled = spell(file, _WEB[function.attr])
    method = call.args[0] if call.args else None
    if spelled is None or any(one.arg is None for one in call.keywords) or len(call.args) > 1:
        return outdated(known, call)
    mine = [one for one in call.keywords if one.arg in _ENDPOINT]
    gone = [*mine, *[one for one in call.keywords if one.arg in _GONE]]
    options = [draft.of(one) for one in mine]
    if method is not None:
        options.insert(0, f"method={draft.of(method)}")
    line = f"\n{draft.indent(draft.start(call))}@{spelled.text}({', '.join(options)})"
    removed = [*gone, *([method] if method is not None else [])]
    edits: list[Edit] = [
        draft.rename(function, "function"),
        *(draft.remove_argument(call, *removed) if removed else []),
        draft.insert(draft.line_end(draft.end(call)), line),
        *spelled.edits,
    ]
    return outdated(known, call, f"Write {known.new}.", edits)


def fastapi_fix(file: ModalFile, unit: Unit) -> Fix | None:
    """Return the rewrite that installs fastapi in the image of an endpoint."""
    draft, value = Draft(file), unit.options.value("image")
    text = '.pip_install("fastapi[standard]")'
    if isinstance(value, ast.Name | ast.Call | ast.Attribute):
        before = _before_files(value)
        if before is value and _has_files(unit):
            return None
        return Fix(f"image{text}", (draft.insert(draft.end(before), text),), safe=False)
    call, slim = unit.registered.node, spell(file, "Image")
    if (
        value is not None
        or unit.image is not None
        or slim is None
        or not isinstance(call, ast.Call)
    ):
        return None
    added = f"image={slim.text}.debian_slim(){text}"
    return Fix(added, (draft.add_keyword(call, added), *slim.edits), safe=False)


def _before_files(image: ast.expr) -> ast.expr:
    """The part of a chain that steps may follow: files mounted at start come last."""
    while (
        isinstance(image, ast.Call)
        and isinstance(image.func, ast.Attribute)
        and image.func.attr.startswith("add_local")
    ):
        image = image.func.value
    return image


def _has_files(unit: Unit) -> bool:
    steps = unit.image.steps if unit.image is not None else ()
    return any(step.method.startswith("add_local") for step in steps)


@rule(
    "MK826", "web-arguments", "error", why="Modal refuses the function when the file is imported."
)
def web_arguments(file: ModalFile) -> Iterator[Problem]:
    """A function for an ASGI or WSGI app that takes arguments."""
    for node in file.nodes.functions:
        if not any(
            one.qualname in {"modal.asgi_app", "modal.wsgi_app"} for one in file.decorators(node)
        ):
            continue
        above = file.nodes.parent(node)
        args = [*node.args.posonlyargs, *node.args.args]
        mine = args[1:] if isinstance(above, ast.ClassDef) else args
        extra = [*mine, *node.args.kwonlyargs]
        if extra:
            words = "Take the value from a variable of the module or the environment."
            yield outdated(change("web-arguments"), extra[0], words)
