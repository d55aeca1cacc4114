"""MK10x: strings that name a GPU."""

from __future__ import annotations

from collections.abc import Iterator

from ...gpu import gpu_catalogue
from ..declared import ModalFile
from ..rule import Problem, rule

__all__ = ["unknown_gpu"]


@rule(
    "MK101",
    "unknown-gpu",
    "error",
    why="Modal looks at the string only when the app is deployed, after the image was built.",
)
def unknown_gpu(file: ModalFile) -> Iterator[Problem]:
    """A GPU string whose type is not in Modal's catalogue."""
    for unit in file.units:
        value = unit.options.value("gpu")
        if value is None:
            continue
        text = file.names.text(value)
        if text is not None and text.split(":")[0].upper() not in {
            n.upper() for n in gpu_catalogue()
        }:
            yield Problem(value, f"gpu={text!r} is not a GPU type of Modal's.", "...")
