"""The images of a file: what each starts from and its build steps, as far as they can be read."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from .names import Names

__all__ = ["Image", "Step", "is_moving_tag", "read_image"]

_SPECS = {"modalkit.ImageSpec", "modalkit.declare.image.ImageSpec"}
_DEEPEST = 200  # steps of one chain
# A word for whatever is newest, alone or behind the variant: `:latest`, `:cuda-nightly`.
_FLOATING = re.compile(r"[:-](?:latest|nightly)$|:main$")


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


def is_moving_tag(image: str) -> bool:
    """Return whether the name of a registry image stands for another image next month.

    Examples:
        >>> is_moving_tag("vllm/vllm-openai"), is_moving_tag("vllm/vllm-openai:v0.33.0")
        (True, False)
    """
    if "@" in image:
        return False
    last = image.rpartition("/")[2]
    return ":" not in last or _FLOATING.search(last) is not None
