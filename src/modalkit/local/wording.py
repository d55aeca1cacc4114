"""Sizes, durations and moments as people read them."""

from __future__ import annotations

__all__ = ["lasted", "rough", "sized"]

_STEP = 1024
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def sized(count: float) -> str:
    """Return a number of bytes with a unit: ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _STEP:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _STEP
    return f"{count:.1f} TiB"


def rough(seconds: float) -> str:
    """Return a duration in its largest unit: ``3 min``."""
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < _DAY_S:
        return f"{seconds / _HOUR_S:.0f} h"
    return f"{seconds / _DAY_S:.0f} d"


def lasted(seconds: float) -> str:
    """Return a short duration with the digits that matter: ``4.2 ms``, ``1.35 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < _MINUTE_S:
        return f"{seconds:.2f} s"
    return f"{seconds // _MINUTE_S:.0f} min {seconds % _MINUTE_S:.0f} s"
