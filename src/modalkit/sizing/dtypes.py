"""The number formats that checkpoints are stored in, and their bytes."""

from __future__ import annotations

from typing import Any

from ..errors import SizingError
from .by_hand import BY_HAND

__all__ = ["DTYPES", "bytes_of", "dtype_of"]

_DTYPE_BYTES = {
    "float64": 8,
    "float32": 4,
    "float": 4,
    "bfloat16": 2,
    "float16": 2,
    "half": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "fp8": 1,
    "int8": 1,
}
DTYPES = tuple(_DTYPE_BYTES)
"""The types of checkpoints that are known."""


def dtype_of(raw: dict[str, Any]) -> str:
    """Return a checkpoint's type: the config's ``dtype`` or ``torch_dtype``, else bfloat16."""
    for place in (raw, raw.get("text_config") or {}):
        for name in ("dtype", "torch_dtype"):
            if isinstance(value := place.get(name), str):
                return value.removeprefix("torch.")
    return "bfloat16"


def bytes_of(dtype: str) -> int:
    """Return the bytes of one number of a type.

    Raises:
        SizingError: It is not one this version knows.
    """
    if dtype not in _DTYPE_BYTES:
        known = ", ".join(_DTYPE_BYTES)
        msg = f"The dtype {dtype!r} is not one this version can size; it knows {known}. {BY_HAND}"
        raise SizingError(msg)
    return _DTYPE_BYTES[dtype]
