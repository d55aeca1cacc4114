"""The share of a card to give an engine where its own keeps out a model that the card would hold."""

from __future__ import annotations

import math

from .facts import ModelFacts
from .lines import Breakdown
from .load import Split
from .reserves import least_outside
from .serving import Serving

__all__ = ["makes_room", "roomier_fraction"]

_STEPS = 100  # a share is proposed in hundredths


def roomier_fraction(
    model: ModelFacts, split: Split, found: Breakdown, served: Serving
) -> float | None:
    """Return the least ``memory_fraction`` with which a model fits that does not, in hundredths.

    None where it fits already, where the engine takes no share, and where that share does not leave outside
    of it what the engine needs there (`least_outside`).

    Args:
        model: The model.
        split: How it is spread.
        found: What a GPU holds as the engine stands.
        served: The engine, and what it was told.
    """
    if found.fits:
        return None
    inside = sum(line.bytes for line in found.lines if not line.outside)
    total = found.total_bytes
    outside = least_outside(model, split, total, served)
    share = math.ceil(_STEPS * inside / total) / _STEPS
    if outside is None or total - round(total * share) < outside:
        return None
    return share


def makes_room(fraction: float, served: Serving) -> str:
    """Say which share makes room: ``"memory_fraction=0.81 (--mem-fraction-static) makes room"``."""
    return f"memory_fraction={fraction:g} ({served.fraction_flag}) makes room"
