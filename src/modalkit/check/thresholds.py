"""From which price on the rules say something of a GPU."""

from __future__ import annotations

__all__ = ["DEAR_USD", "KEPT_WARM_USD"]

DEAR_USD = 2.0
"""An hour of a card whose idle memory is worth a word: dearer than an L40S."""
KEPT_WARM_USD = 1.5
"""An hour of a card whose idle time is worth a word: more than a thousand dollars a month."""
