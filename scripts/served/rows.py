"""Rows of an architecture file: layers by the names and sizes that their modules are made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Row", "conv", "linear", "norm", "stack", "table", "tensor", "when"]

Row = dict[str, Any]
Size = str | int


def tensor(name: str, *sizes: Size) -> list[Row]:
    """Return a parameter of any shape."""
    return [{"name": name, "shape": [str(size) for size in sizes]}]


def linear(name: str, outputs: Size, inputs: Size, *, bias: bool = True) -> list[Row]:
    """Return a linear map, with a bias unless told otherwise."""
    return tensor(f"{name}.weight", outputs, inputs) + (
        tensor(f"{name}.bias", outputs) if bias else []
    )


def conv(name: str, outputs: Size, inputs: Size, *kernel: Size, bias: bool = True) -> list[Row]:
    """Return a convolution over patches, frames or pixels."""
    return tensor(f"{name}.weight", outputs, inputs, *kernel) + (
        tensor(f"{name}.bias", outputs) if bias else []
    )


def norm(name: str, width: Size, *, bias: bool = False) -> list[Row]:
    """Return a norm: of the root mean square, or with ``bias`` a LayerNorm."""
    return tensor(f"{name}.weight", width) + (tensor(f"{name}.bias", width) if bias else [])


def table(name: str, entries: Size, width: Size) -> list[Row]:
    """Return an embedding."""
    return tensor(f"{name}.weight", entries, width)


def when(field: str, rows: list[Row], *, holds: bool = True) -> list[Row]:
    """Return rows that are there only if a field of the config is set (or, else, is not)."""
    return [{**row, "when": {**row.get("when", {}), field: holds}} for row in rows]


def stack(
    name: str,
    count: Size,
    rows: list[Row],
    by: Mapping[str, Any] | None = None,
    cases: Mapping[str, list[Row]] | None = None,
) -> list[Row]:
    """Return a stack of layers.

    Args:
        name: Such as ``model.layers``.
        count: How many there are.
        rows: What every layer has.
        by: The rule that says of which kind a layer is, where they differ.
        cases: What a layer of each kind has beside.
    """
    parts: list[Row] = [{"part": "all", "cases": {"": rows}}] if rows else []
    if by is not None:
        parts.append({"part": "kind", "by": dict(by), "cases": dict(cases or {})})
    return [{"stack": name, "count": str(count), "parts": parts}]
