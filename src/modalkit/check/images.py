"""The images of a file: what each starts from and its build steps, as far as they can be read."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from .names import Names

__all__ = ["Image", "Step", "read_image"]

_SPECS = {"modalkit.ImageSpec", "modalkit.declare.image.ImageSpec"}
_DEEPEST = 200  # steps of one chain


@dataclass(frozen=True, slots=True)
class Step:
    """One method call on an image: ``pip_install``, ``run_commands``."""

    method: str
    call: ast.Call


@dataclass(frozen=True, slots=True)
class Image:
    """An image as its chain of calls says.

    Attributes:
        base: The method it starts from, such as ``"debian_slim"``; empty when it is not known.
        base_call: That call.
        steps: Its steps in order.
        partial: Whether more may belong to it than could be followed.
    """

    base: str
    base_call: ast.Call | None
    steps: tuple[Step, ...]
    partial: bool


def read_image(node: ast.expr | None, names: Names) -> Image | None:
    """Follow an expression to the image it is; None where it is none that can be followed."""
    steps: list[Step] = []
    seen: set[ast.AST] = set()
    while node is not None and node not in seen and len(steps) < _DEEPEST:
        seen.add(node)
        if isinstance(node, ast.Name):
            node = names.latest(node)
            continue
        if isinstance(node, ast.Call) and names.qualname(node.func) in _SPECS:
            return Image("ImageSpec", node, tuple(reversed(steps)), partial=False)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            break
        method = node.func.attr
        if names.qualname(node.func) == f"modal.Image.{method}":
            return Image(method, node, tuple(reversed(steps)), partial=False)
        steps.append(Step(method, node))
        node = node.func.value
    return Image("", None, tuple(reversed(steps)), partial=True) if steps else None
