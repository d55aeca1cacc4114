"""What came out of a call, in the order in which it came."""

from __future__ import annotations

from collections.abc import Iterable

from ..protocol import api

__all__ = ["Outputs"]

_REPLY_LIMIT = 32 * 1024 * 1024


class Outputs:
    """A call's outputs by the index of their input, numbered as they came."""

    def __init__(self, items: Iterable[api.FunctionGetOutputsItem] = ()) -> None:
        self._by_index: dict[int, tuple[int, api.FunctionGetOutputsItem]] = {}
        self._last = 0
        for item in items:
            self.add(item)

    def __len__(self) -> int:
        return len(self._by_index)

    def add(self, item: api.FunctionGetOutputsItem) -> None:
        """Add an output."""
        self._last += 1
        self._by_index[item.idx] = (self._last, item)

    def all(self) -> list[api.FunctionGetOutputsItem]:
        """Return every output that is kept."""
        return [item for _number, item in self._by_index.values()]

    def forget_up_to(self, entry_id: str) -> None:
        """Drop the outputs that a reader has seen when it names this as its last entry."""
        seen = []
        for index, (number, _item) in self._by_index.items():
            if number > _number(entry_id):
                break
            seen.append(index)
        for index in seen:
            del self._by_index[index]

    def reply(
        self, request: api.FunctionGetOutputsRequest, unfinished: int
    ) -> api.FunctionGetOutputsResponse:
        """Answer a request with what is there; with ``clear_on_success`` it is dropped here."""
        found = self._wanted(request)
        if request.clear_on_success:
            for _entry, item in found:
                self._by_index.pop(item.idx, None)
        last = max((entry for entry, _item in found), default=0)
        return api.FunctionGetOutputsResponse(
            idxs=[item.idx for _entry, item in found],
            outputs=[item for _entry, item in found],
            last_entry_id=f"{last}-0" if found else request.last_entry_id,
            num_unfinished_inputs=unfinished,
        )

    def ready(self, request: api.FunctionGetOutputsRequest) -> bool:
        """Return whether there is anything to answer a request with."""
        if request.HasField("start_idx"):
            wanted = range(request.start_idx, request.end_idx + 1)
            return any(index in self._by_index for index in wanted)
        return bool(self._by_index) and self._last > _number(request.last_entry_id)

    def _wanted(
        self, request: api.FunctionGetOutputsRequest
    ) -> list[tuple[int, api.FunctionGetOutputsItem]]:
        if request.HasField("start_idx"):
            wanted = range(request.start_idx, request.end_idx + 1)
            return [self._by_index[index] for index in wanted if index in self._by_index]
        found, size, after = [], 0, _number(request.last_entry_id)
        for entry, item in self._by_index.values():
            if entry > after and size < _REPLY_LIMIT:
                found.append((entry, item))
                size += item.ByteSize()
        return found


def _number(entry_id: str) -> int:
    return int(entry_id.split("-", 1)[0] or 0) if entry_id else 0
