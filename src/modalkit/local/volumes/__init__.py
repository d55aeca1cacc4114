"""Volumes: a committed state each, and for every container that mounts one a view of its own."""

from __future__ import annotations

from .catalogue import Volumes

__all__ = ["Volumes"]
