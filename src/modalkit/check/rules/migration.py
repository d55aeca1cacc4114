"""MK8xx: code of earlier versions of Modal; the rules are in ``check/migration``."""

from __future__ import annotations

from .. import migration

__all__ = ["migration"]
