"""A measured speed of one container, read from a file."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from ..errors import DeclarationError
from ..pricing.month import Throughput

__all__ = ["read_measured"]


def read_measured(path: str | Path) -> Throughput:
    """Read what ``modalkit bench --json`` wrote, or the fields of a `Throughput` as a JSON object.

    Raises:
        DeclarationError: It is no such file.
    """
    file = Path(path)
    try:
        written = json.loads(file.read_text("utf-8"))
        if "stages" in written:  # a bench; its container is what one did in its best load
            written = written["container"] or {}
        speed = Throughput(**(written | {"source": f"measured, {file.name}"}))
    except (OSError, ValueError, TypeError, ValidationError) as error:
        msg = f"{str(path)!r} is no measurement: {error}"
        raise DeclarationError(msg) from error
    if not speed.tokens_per_s and speed.request_s is None:
        msg = f"{str(path)!r} says neither tokens_per_s nor request_s of a container."
        raise DeclarationError(msg)
    return speed
