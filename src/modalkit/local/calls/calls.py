"""Function calls: inputs on their way in, outputs on their way out.

Nothing here waits in a loop: whoever waits for an output is woken when it arrives. Nothing is kept
for ever either: outputs of a map go when its caller has seen them, finished calls as `kept` says,
and the results of spawned calls are on disk (`results`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..ids import new_id
from ..protocol import api
from ..waiting import Bell
from .call_graph import CallNode, InputNode
from .chunks import ChunkStream
from .kept import Kept
from .outputs import Outputs
from .results import CallResults, FinishedCall

if TYPE_CHECKING:
    from ..apps.apps import App
    from ..apps.functions import FunctionEntry
    from ..containers.container import Container
    from ..store.blobs import Blobs

__all__ = ["CallRecord", "Calls", "ChunkStream", "FunctionCall", "Input"]

_KEPT_RECORDS = 500
# A map whose caller neither asked for more nor said goodbye for so long is over.
_SILENCE_S = 600.0
_LOOK_AROUND_EVERY = 256
# While this many inputs of a map are out, its caller gets outputs in groups: each of its requests
# lists every input it waits for, which costs it and the plane more than the outputs do.
_FLOWING = 32
_GATHER_S = 0.01


@dataclass(eq=False, slots=True)
class Input:
    """One input of a call.

    Attributes:
        attempt: How often it was started before; containers see it as the retry count.
        failures: How often it failed in a way that counts against the function's retries.
        crashes: How often its container died under it.
        timer: Enforces the function's timeout while the input runs.
        waiting_for: Unfinished inputs that this one created by calling functions itself.
        done: It has an output (or was cancelled); whatever comes later is ignored.
        node: Its place in the call graph, if that has room.
    """

    id: str
    call: FunctionCall
    index: int
    message: api.FunctionInput
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    queued_at: float = field(default_factory=time.monotonic)
    container: Container | None = None
    timer: asyncio.TimerHandle | None = None
    waiting_for: int = 0
    done: bool = False
    node: InputNode | None = None


class FunctionCall:
    """One call of a function, with one input or many.

    Args:
        parent: The input whose code made this call, if it was made in a container.

    Attributes:
        whole: Every input has been put.
        asked_at: When its caller last asked for outputs.
        yields: It is a generator's: a reader of its items may come after its output.
        blob_ids: Blobs that belong to this call; they go when it is forgotten.
        failure: The first output that was none, for the record.
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
        self.started_at = time.time()
        self.asked_at = time.monotonic()
        self.unfinished: dict[str, Input] = {}
        self.inputs_total = 0
        self.whole = not is_map
        self.outputs = Outputs()
        self.blob_ids: list[str] = []
        self.on_finished: Callable[[FunctionCall], None] | None = None
        self.yields = False
        self.failure: api.GenericResult | None = None
        self.node = CallNode(self.id, function.name, function.definition.module_name)
        if parent is not None:
            self.node.parent_input_id = parent.id
            parent.call.node.adopt(self.node)
        self._web = web
        self._bell = Bell()

    @cached_property
    def data_in(self) -> ChunkStream:
        """What the caller sends while the call runs; few calls have any."""
        return self._stream(bounded=True)

    @cached_property
    def data_out(self) -> ChunkStream:
        """What the call yields, or answers a web request with."""
        return self._stream(bounded=self._web)

    def _stream(self, *, bounded: bool) -> ChunkStream:
        stream = ChunkStream(bounded=bounded)
        if self.inputs_total and not self.unfinished:
            stream.close()
        return stream

    @property
    def spawned(self) -> bool:
        """Whether the caller went on without waiting; such a call keeps its outputs."""
        return self.invocation not in {
            api.FUNCTION_CALL_INVOCATION_TYPE_SYNC,
            api.FUNCTION_CALL_INVOCATION_TYPE_SYNC_LEGACY,
        }

    @property
    def ended(self) -> bool:
        """Whether every input was put and has its output."""
        return self.whole and not self.unfinished

    def add_input(self, message: api.FunctionInput, index: int) -> Input:
        """Add an input; the caller hands it to the function's pool."""
        entry = Input(new_id("in"), self, index, message)
        entry.node = self.node.add_input(entry.id)
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
        task_id = entry.container.id if entry.container else ""
        if entry.node is not None:
            entry.node.status, entry.node.task_id = result.status, task_id
        if result.status != api.GenericResult.GENERIC_STATUS_SUCCESS and self.failure is None:
            self.failure = result
        if result.data_blob_id:
            self.blob_ids.append(result.data_blob_id)
        item = api.FunctionGetOutputsItem(
            result=result,
            idx=entry.index,
            input_id=entry.id,
            task_id=task_id,
            output_created_at=time.time(),
        )
        if output is not None:
            item.data_format = output.data_format
            item.input_started_at = output.input_started_at
        self.outputs.add(item)
        if not self.unfinished:
            self._close_streams()
            if self.on_finished is not None:
                self.on_finished(self)
        self._bell.ring()

    def _close_streams(self) -> None:
        """Close those that somebody used; one that is asked for later is closed from its start."""
        for name in ("data_in", "data_out"):
            if name in vars(self):
                vars(self)[name].close()

    async def wait_for_outputs(
        self, request: api.FunctionGetOutputsRequest
    ) -> api.FunctionGetOutputsResponse:
        """Answer a request for outputs, waiting up to its timeout for the first."""
        self.asked_at = time.monotonic()
        if self.is_map and not self.spawned:
            self.outputs.forget_up_to(request.last_entry_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(request.timeout):
                while not self.outputs.ready(request):
                    await self._bell.next().wait()
        if len(self.unfinished) > _FLOWING and request.timeout:
            await asyncio.sleep(_GATHER_S)
        return self.outputs.reply(request, len(self.unfinished))

    async def single_output(self) -> api.FunctionGetOutputsItem:
        """Wait for the output of a call with one input."""
        while not self.outputs:
            await self._bell.next().wait()
        return self.outputs.all()[0]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One finished call, for people to look at.

    Attributes:
        started_at: Seconds since the epoch.
        status: How it ended, such as ``"success"`` or ``"timeout"``.
        error: What it said if it failed.
    """

    call_id: str
    function: str
    app: str
    started_at: float
    duration_s: float
    status: str
    error: str


class Calls:
    """Every call this plane knows: the unfinished ones and what callers may still ask for.

    Args:
        results: Keeps what came of spawned calls.
        blobs: Holds inputs and outputs too large for a message.

    Attributes:
        recent: The last 500 finished calls, the newest last.
    """

    def __init__(self, results: CallResults, blobs: Blobs) -> None:
        self.recent: deque[CallRecord] = deque(maxlen=_KEPT_RECORDS)
        self._results = results
        self._blobs = blobs
        self._calls: dict[str, FunctionCall] = {}
        self._inputs: dict[str, Input] = {}
        self._kept = Kept()
        self._created = 0

    def create(self, call: FunctionCall) -> FunctionCall:
        """Remember a new call."""
        self._calls[call.id] = call
        self._created += 1
        if self._created % _LOOK_AROUND_EVERY == 0:
            self._close_silent_maps()
        return call

    def get(self, call_id: str) -> FunctionCall | None:
        """Return a call by its id."""
        return self._calls.get(call_id)

    def earlier(self, call_id: str) -> FinishedCall | None:
        """Return a spawned call that is no longer in memory, or was an earlier plane's."""
        return self._results.find(call_id)

    def all_put(self, call: FunctionCall) -> None:
        """No input will follow; saying so again is fine."""
        if call.whole:
            return
        call.whole = True
        if call.spawned:
            self._results.begin(call)
        if call.ended:
            self._ended(call)

    def forget(self, call: FunctionCall) -> None:
        """Drop a finished call that its caller waited for."""
        if not call.unfinished and not call.spawned:
            self._drop(call)

    def forget_later(self, call: FunctionCall) -> None:
        """Drop a web call once its container is done with it."""
        call.on_finished = self.forget
        self.forget(call)

    def submit(self, call: FunctionCall, message: api.FunctionInput, index: int) -> Input:
        """Add an input to a call and queue it."""
        entry = call.add_input(message, index)
        self._inputs[entry.id] = entry
        if call.spawned and not call.is_map:
            self._results.begin(call)
        call.function.pool.submit(entry)
        return entry

    def input(self, input_id: str) -> Input | None:
        """Return an unfinished input by its id."""
        return self._inputs.get(input_id)

    def has_work_for(self, app: App) -> bool:
        """Return whether an input of an app has no output yet; one that waits to be retried counts."""
        return any(entry.call.function.app is app for entry in self._inputs.values())

    def settle(
        self,
        entry: Input,
        result: api.GenericResult,
        output: api.FunctionPutOutputsItem | None = None,
    ) -> None:
        """Give an input its final output."""
        if self._inputs.pop(entry.id, None) is None:
            return
        if entry.message.args_blob_id:
            self._blobs.remove(entry.message.args_blob_id)
        entry.call.finish(entry, result, output)
        if entry.call.ended:
            self._ended(entry.call)

    def _ended(self, call: FunctionCall) -> None:
        """Every output of a call is there: write it down, and drop the oldest if there are many."""
        self.recent.append(_record(call))
        if call.spawned:
            for blob_id in call.blob_ids:
                self._blobs.keep(blob_id, self._results.blobs)
            self._results.finish(call)
        if call.id in self._calls:
            self._kept.add(call)
        while (surplus := self._kept.surplus()) is not None:
            self._drop(self._calls[surplus])

    def _close_silent_maps(self) -> None:
        """End the maps whose caller is gone and whose inputs are all done."""
        long_ago = time.monotonic() - _SILENCE_S
        for call in list(self._calls.values()):
            if not call.whole and not call.unfinished and call.asked_at < long_ago:
                self.all_put(call)

    def _drop(self, call: FunctionCall) -> None:
        self._calls.pop(call.id, None)
        self._kept.remove(call.id)
        if not call.spawned:
            for blob_id in call.blob_ids:
                self._blobs.remove_when_read(blob_id)
            call.blob_ids.clear()


def _record(call: FunctionCall) -> CallRecord:
    worst = call.failure or api.GenericResult(status=api.GenericResult.GENERIC_STATUS_SUCCESS)
    status = api.GenericResult.GenericStatus.Name(worst.status)
    return CallRecord(
        call_id=call.id,
        function=call.function.name,
        app=call.function.app.label,
        started_at=call.started_at,
        duration_s=time.time() - call.started_at,
        status=status.removeprefix("GENERIC_STATUS_").lower(),
        error=worst.exception,
    )
