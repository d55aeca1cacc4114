"""Function calls: inputs on their way in, outputs on their way out, and the streams between.

Nothing here waits in a loop: whoever waits for an output or a chunk is woken when it arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .ids import new_id
from .protocol import api

if TYPE_CHECKING:
    from .containers import Container
    from .functions import FunctionEntry

__all__ = ["Calls", "ChunkStream", "FunctionCall", "Input"]

_UNREAD_LIMIT = 16 * 1024 * 1024
_REPLY_LIMIT = 32 * 1024 * 1024
_KEPT_FINISHED_CALLS = 10_000


class ChunkStream:
    """Numbered chunks from one side to the other: generator items, request and response bodies.

    Args:
        bounded: Drop what was read and make the writer wait while 16 MiB are unread. Without it
            everything is kept, so that a reader may start again from the beginning.
    """

    def __init__(self, *, bounded: bool) -> None:
        self._bounded = bounded
        self._chunks: deque[api.DataChunk] = deque()
        self._unread = 0
        self._last = 0
        self._closed = False
        self._changed = asyncio.Event()

    async def put(self, chunks: Iterable[api.DataChunk]) -> None:
        """Append chunks; a chunk without an index gets the next one."""
        for chunk in chunks:
            self._last = chunk.index = chunk.index or self._last + 1
            self._chunks.append(chunk)
            self._unread += len(chunk.data)
        self._wake()
        while self._bounded and self._unread > _UNREAD_LIMIT and not self._closed:
            await self._changed.wait()

    def close(self) -> None:
        """Say that no chunk will follow, and let go of a waiting writer."""
        self._closed = True
        self._wake()

    async def read(
        self, after: int = 0, *, until_closed: bool = False
    ) -> AsyncGenerator[api.DataChunk, None]:
        """Yield the chunks numbered above ``after`` as they come.

        With ``until_closed`` it ends when the stream is closed. A client instead opens a stream
        again at once when it ends, so for clients it stays open until they let go.
        """
        position = 0
        while True:
            changed = self._changed
            while position < len(self._chunks):
                chunk = self._chunks.popleft() if self._bounded else self._chunks[position]
                position += not self._bounded
                if chunk.index > after:
                    yield chunk
                    self._read(chunk)
            if self._closed and until_closed:
                return
            await changed.wait()

    def _read(self, chunk: api.DataChunk) -> None:
        was_full = self._unread > _UNREAD_LIMIT
        self._unread -= len(chunk.data)
        if was_full:
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass(eq=False, slots=True)
class Input:
    """One input of a call.

    Attributes:
        attempt: How often it was started before; containers see it as the retry count.
        failures: How often it failed in a way that counts against the function's retries.
        timer: Enforces the function's timeout while the input runs.
        waiting_for: Unfinished inputs that this one created by calling functions itself.
        done: It has an output (or was cancelled); whatever comes later is ignored.
    """

    id: str
    call: FunctionCall
    index: int
    message: api.FunctionInput
    attempt: int = 0
    failures: int = 0
    queued_at: float = field(default_factory=time.monotonic)
    container: Container | None = None
    timer: asyncio.TimerHandle | None = None
    waiting_for: int = 0
    done: bool = False


class FunctionCall:
    """One call of a function, with one input or many.

    Args:
        parent: The input whose code made this call, if it was made in a container.

    Attributes:
        yields: It is a generator's: a reader of its items may come after its output.
    """

    def __init__(
        self,
        function: FunctionEntry,
        *,
        invocation: api.FunctionCallInvocationType.ValueType,
        is_map: bool = False,
        parent: Input | None = None,
        web: bool = False,
    ) -> None:
        self.id = new_id("fc")
        self.function = function
        self.invocation = invocation
        self.is_map = is_map
        self.parent = parent
        self.unfinished: dict[str, Input] = {}
        self.inputs_total = 0
        self.data_in = ChunkStream(bounded=True)
        self.data_out = ChunkStream(bounded=web)
        self._outputs: dict[int, tuple[int, api.FunctionGetOutputsItem]] = {}
        self._entries = 0
        self._changed = asyncio.Event()
        self.on_finished: Callable[[FunctionCall], None] | None = None
        self.yields = False

    @property
    def spawned(self) -> bool:
        """Whether the caller went on without waiting; such a call keeps its outputs."""
        return self.invocation not in {
            api.FUNCTION_CALL_INVOCATION_TYPE_SYNC,
            api.FUNCTION_CALL_INVOCATION_TYPE_SYNC_LEGACY,
        }

    def add_input(self, message: api.FunctionInput, index: int) -> Input:
        """Add an input; the caller hands it to the function's pool."""
        entry = Input(new_id("in"), self, index, message)
        self.yields = self.yields or self.function.yields(message.method_name)
        self.unfinished[entry.id] = entry
        self.inputs_total += 1
        if self.parent is not None:
            self.parent.waiting_for += 1
        return entry

    def finish(
        self, entry: Input, result: api.GenericResult, output: api.FunctionPutOutputsItem | None
    ) -> None:
        """Record an input's final output and wake whoever waits for it."""
        if self.unfinished.pop(entry.id, None) is None:
            return
        entry.done = True
        if self.parent is not None:
            self.parent.waiting_for -= 1
        item = api.FunctionGetOutputsItem(
            result=result,
            idx=entry.index,
            input_id=entry.id,
            task_id=entry.container.id if entry.container else "",
            output_created_at=time.time(),
        )
        if output is not None:
            item.data_format = output.data_format
            item.input_started_at = output.input_started_at
        self._entries += 1
        self._outputs[entry.index] = (self._entries, item)
        if not self.unfinished:
            self.data_in.close()
            self.data_out.close()
            if self.on_finished is not None:
                self.on_finished(self)
        self._changed.set()
        self._changed = asyncio.Event()

    async def outputs(
        self, request: api.FunctionGetOutputsRequest
    ) -> api.FunctionGetOutputsResponse:
        """Answer a request for outputs, waiting up to its timeout for the first."""
        deadline = time.monotonic() + request.timeout
        after = int(request.last_entry_id.split("-", 1)[0] or 0) if request.last_entry_id else 0
        if self.is_map and not self.spawned:
            self._forget_up_to(after)
        while True:
            changed = self._changed
            found = self._select(request, after)
            remaining = deadline - time.monotonic()
            if found or remaining <= 0:
                return self._reply(found, request)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(remaining):
                    await changed.wait()

    async def single_output(self) -> api.FunctionGetOutputsItem:
        """Wait for the output of a call with one input."""
        while not self._outputs:
            await self._changed.wait()
        return next(iter(self._outputs.values()))[1]

    def _forget_up_to(self, entry: int) -> None:
        """Drop outputs that the caller of a map has seen, so that memory stays flat."""
        seen = []
        for index, (number, _item) in self._outputs.items():
            if number > entry:
                break
            seen.append(index)
        for index in seen:
            del self._outputs[index]

    def _select(
        self, request: api.FunctionGetOutputsRequest, after: int
    ) -> list[tuple[int, api.FunctionGetOutputsItem]]:
        if request.HasField("start_idx"):
            wanted = range(request.start_idx, request.end_idx + 1)
            return [self._outputs[index] for index in wanted if index in self._outputs]
        found, size = [], 0
        for number, item in self._outputs.values():
            if number > after and size < _REPLY_LIMIT:
                found.append((number, item))
                size += item.ByteSize()
        return found

    def _reply(
        self,
        found: list[tuple[int, api.FunctionGetOutputsItem]],
        request: api.FunctionGetOutputsRequest,
    ) -> api.FunctionGetOutputsResponse:
        if request.clear_on_success:
            for _number, item in found:
                self._outputs.pop(item.idx, None)
        last = max((number for number, _item in found), default=0)
        return api.FunctionGetOutputsResponse(
            idxs=[item.idx for _number, item in found],
            outputs=[item for _number, item in found],
            last_entry_id=f"{last}-0" if found else request.last_entry_id,
            num_unfinished_inputs=len(self.unfinished),
        )


class Calls:
    """Every call this plane knows: the unfinished ones and what callers may still ask for."""

    def __init__(self) -> None:
        self._calls: dict[str, FunctionCall] = {}
        self._inputs: dict[str, Input] = {}

    def create(self, call: FunctionCall) -> FunctionCall:
        """Remember a new call; beyond 10,000 the oldest finished ones are forgotten."""
        self._calls[call.id] = call
        if len(self._calls) > _KEPT_FINISHED_CALLS:
            finished = (old.id for old in self._calls.values() if not old.unfinished)
            for call_id in list(finished)[: _KEPT_FINISHED_CALLS // 10]:
                del self._calls[call_id]
        return call

    def get(self, call_id: str) -> FunctionCall | None:
        """Return a call by its id."""
        return self._calls.get(call_id)

    def forget(self, call: FunctionCall) -> None:
        """Drop a finished call that its caller waited for."""
        if not call.unfinished and not call.spawned:
            self._calls.pop(call.id, None)

    def forget_later(self, call: FunctionCall) -> None:
        """Drop a web call once its container is done with it."""
        call.on_finished = self.forget
        self.forget(call)

    def submit(self, call: FunctionCall, message: api.FunctionInput, index: int) -> Input:
        """Add an input to a call and queue it."""
        entry = call.add_input(message, index)
        self._inputs[entry.id] = entry
        call.function.pool.submit(entry)
        return entry

    def input(self, input_id: str) -> Input | None:
        """Return an unfinished input by its id."""
        return self._inputs.get(input_id)

    def settle(
        self,
        entry: Input,
        result: api.GenericResult,
        output: api.FunctionPutOutputsItem | None = None,
    ) -> None:
        """Give an input its final output."""
        self._inputs.pop(entry.id, None)
        entry.call.finish(entry, result, output)
