"""Sizes and times as people read them."""

from __future__ import annotations

__all__ = ["ago", "sized"]

_STEP = 1024
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def sized(count: float) -> str:
    """Return a number of bytes with a unit: ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _STEP:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _STEP
    return f"{count:.1f} TiB"


def ago(seconds: float) -> str:
    """Return a duration in its largest unit: ``3 min``."""
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < _DAY_S:
        return f"{seconds / _HOUR_S:.0f} h"
    return f"{seconds / _DAY_S:.0f} d"
