"""Which finished calls stay in memory, because somebody may still ask for them."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .calls import FunctionCall

__all__ = ["Kept"]

_MOST_WRITTEN = 200
_MOST_UNWRITTEN = 5_000
_MOST_BYTES = 128 * 1024 * 1024
# A caller that waits for its call asks again within a minute; one that did not is gone.
_FETCHED_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class _Finished:
    size: int
    leaves_at: float


class Kept:
    """Finished calls by their id, oldest first.

    What came of a spawned call is written down, so the last 200 are enough: what memory adds is
    their call graph. Any other call is nowhere else, and stays until its caller has fetched what
    came of it, for ten minutes at most.
    """

    def __init__(self) -> None:
        self._written: OrderedDict[str, _Finished] = OrderedDict()
        self._unwritten: OrderedDict[str, _Finished] = OrderedDict()
        self._bytes = 0

    def add(self, call: FunctionCall) -> None:
        """Keep a call that has just finished; one that is kept already stays where it is."""
        if call.id in self._written or call.id in self._unwritten:
            return
        size = sum(item.ByteSize() for item in call.outputs.all())
        self._bytes += size
        if call.spawned and not call.yields:
            self._written[call.id] = _Finished(size, float("inf"))
        else:
            stays_s = float("inf") if call.spawned else _FETCHED_WITHIN_S
            self._unwritten[call.id] = _Finished(size, time.monotonic() + stays_s)

    def remove(self, call_id: str) -> None:
        """Keep a call no longer; one that is not kept does not mind."""
        for calls in (self._written, self._unwritten):
            if (finished := calls.pop(call_id, None)) is not None:
                self._bytes -= finished.size

    def surplus(self) -> str | None:
        """Return the call to let go of next, if there is one too many."""
        too_large = self._bytes > _MOST_BYTES
        if self._written and (too_large or len(self._written) > _MOST_WRITTEN):
            return next(iter(self._written))
        if not self._unwritten:
            return None
        call_id, oldest = next(iter(self._unwritten.items()))
        too_many = len(self._unwritten) > _MOST_UNWRITTEN
        overdue = oldest.leaves_at < time.monotonic()
        return call_id if too_large or too_many or overdue else None
