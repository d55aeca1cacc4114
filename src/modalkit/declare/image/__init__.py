"""The image of a container, declared."""

from __future__ import annotations

from .spec import ImageSpec

__all__ = ["ImageSpec"]
