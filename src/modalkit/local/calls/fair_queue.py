"""Inputs that wait for a container; calls take turns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .calls import FunctionCall, Input

__all__ = ["FairQueue"]


class FairQueue:
    """A queue in which every call has a lane of its own and the lanes take turns.

    So a call with one input waits for one input of each other call, never for all ten thousand of
    a map that came before it. Within a call, the first in is the first out.
    """

    def __init__(self) -> None:
        self._lanes: OrderedDict[FunctionCall, OrderedDict[str, Input]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def calls(self) -> Iterator[FunctionCall]:
        """The calls that wait."""
        return iter(self._lanes)

    @property
    def first(self) -> Input:
        """The input whose turn it is; there must be one."""
        return next(iter(next(iter(self._lanes.values())).values()))

    def put(self, entry: Input) -> None:
        """Queue an input behind the others of its call."""
        self._lanes.setdefault(entry.call, OrderedDict())[entry.id] = entry
        self._size += 1

    def take(self) -> Input:
        """Take the input whose turn it is; its call's next one waits for the other calls' turn."""
        call, lane = next(iter(self._lanes.items()))
        _id, entry = lane.popitem(last=False)
        self._size -= 1
        if lane:
            self._lanes.move_to_end(call)
        else:
            del self._lanes[call]
        return entry

    def discard(self, entry: Input) -> None:
        """Remove an input; removing one that is not there is fine."""
        lane = self._lanes.get(entry.call)
        if lane is None or lane.pop(entry.id, None) is None:
            return
        self._size -= 1
        if not lane:
            del self._lanes[entry.call]
