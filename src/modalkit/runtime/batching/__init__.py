"""Requests gathered into calls of a model: one queue a route, `.remote` and HTTP alike.

`queue` holds the requests and decides when a batch leaves (`pace`: how long it waits), `packing` which of them it takes (`padding` what that costs), `outcome`
what each gets where some fail, `continuous` runs generators whose requests join and leave between steps,
`observing` what others may watch.
"""

from __future__ import annotations

from .continuous import LiveBatcher, Steps
from .observing import BatchObserver, BatchRecord, Passage
from .queue import Batcher

__all__ = ["BatchObserver", "BatchRecord", "Batcher", "LiveBatcher", "Passage", "Steps"]
