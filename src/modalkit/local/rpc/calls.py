"""Calling functions, from the client's side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Iterable
from contextlib import aclosing

from grpclib.const import Status

from ..apps.functions import FunctionEntry, Functions
from ..calls.calls import Calls, FunctionCall
from ..calls.results import FinishedCall
from ..containers.inputs import pool_of
from ..containers.pools import DEFAULT_LIMIT
from ..ids import input_token
from ..protocol import Empty, api, fitting, refuse
from ..wire.grpc_server import Caller, rpc, stream_rpc

__all__ = ["CallRpcs"]

_LEAST_OUTSTANDING, _MOST_OUTSTANDING = 200, 1000
# A client whose connection broke connects again within seconds.
_CALLER_RETURNS_WITHIN_S = 10.0


class CallRpcs:
    """Calls: put inputs in, get outputs out, cancel."""

    def __init__(self, calls: Calls, functions: Functions) -> None:
        self._calls = calls
        self._functions = functions

    @rpc("FunctionMap")
    def start(self, request: api.FunctionMapRequest, _caller: Caller) -> api.FunctionMapResponse:
        """Begin a call, with its first inputs if the client sent them along."""
        function = self._functions.find(request.function_id)
        call = self._calls.create(
            FunctionCall(
                function,
                invocation=request.function_call_invocation_type,
                is_map=request.function_call_type == api.FUNCTION_CALL_TYPE_MAP,
                parent=self._calls.input(request.parent_input_id),
            )
        )
        # Retries are this server's work, for waiting and spawned callers alike.
        return api.FunctionMapResponse(
            function_call_id=call.id,
            function_call_jwt=input_token(0),
            pipelined_inputs=self._put(call, request.pipelined_inputs),
            retry_policy=function.definition.retry_policy,
            sync_client_retries_enabled=False,
            max_inputs_outstanding=_outstanding(function),
        )

    @rpc("FunctionPutInputs")
    def put_inputs(
        self, request: api.FunctionPutInputsRequest, _caller: Caller
    ) -> api.FunctionPutInputsResponse:
        """Add inputs to a call."""
        call = self._find(request.function_call_id)
        return api.FunctionPutInputsResponse(inputs=self._put(call, request.inputs))

    @rpc("FunctionFinishInputs")
    def finish_inputs(self, request: api.FunctionFinishInputsRequest, _caller: Caller) -> Empty:
        """The caller of a spawned map has sent everything."""
        self._calls.all_put(self._find(request.function_call_id))
        return Empty()

    @rpc("FunctionGetOutputs")
    async def get_outputs(
        self, request: api.FunctionGetOutputsRequest, _caller: Caller
    ) -> api.FunctionGetOutputsResponse:
        """Wait for outputs."""
        call = self._calls.get(request.function_call_id)
        if call is None:
            return self._earlier(request.function_call_id).outputs.reply(request, 0)
        try:
            response = await call.wait_for_outputs(request)
        except asyncio.CancelledError:
            self._expect_caller(call)
            raise
        if request.clear_on_success and not call.spawned:
            self._acknowledged(call)
        return response

    @rpc("FunctionCallCancel")
    async def cancel(self, request: api.FunctionCallCancelRequest, _caller: Caller) -> Empty:
        """Cancel every unfinished input of a call."""
        call = self._calls.get(request.function_call_id)
        if call is None:
            self._earlier(request.function_call_id)
        else:
            self._cancel(call, kill_containers=request.terminate_containers)
        return Empty()

    @rpc("FunctionCallFromId")
    async def from_id(
        self, request: api.FunctionCallFromIdRequest, _caller: Caller
    ) -> api.FunctionCallFromIdResponse:
        """Describe a call."""
        call = self._calls.get(request.function_call_id)
        if call is None:
            earlier = self._earlier(request.function_call_id)
            return _described(earlier.id, earlier.inputs_total, earlier.app_id, earlier.function_id)
        return _described(call.id, call.inputs_total, call.function.app.id, call.function.id)

    @rpc("FunctionGetCallGraph")
    async def graph(
        self, request: api.FunctionGetCallGraphRequest, _caller: Caller
    ) -> api.FunctionGetCallGraphResponse:
        """Show which calls a call made; of calls that are no longer in memory, nothing is known."""
        call = self._calls.get(request.function_call_id)
        if call is None:
            self._earlier(request.function_call_id)
            return fitting(api.FunctionGetCallGraphResponse, truncated=True)
        return call.node.describe()

    @stream_rpc("FunctionCallGetDataOut")
    async def data_out(
        self, request: api.FunctionCallGetDataRequest, _caller: Caller
    ) -> AsyncGenerator[api.DataChunk, None]:
        """Follow what a generator yields."""
        call = self._find(request.function_call_id)
        try:
            async with aclosing(call.data_out.read(request.last_index)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._calls.forget(call)

    @stream_rpc("FunctionCallGetDataIn")
    def data_in(
        self, request: api.FunctionCallGetDataRequest, _caller: Caller
    ) -> AsyncGenerator[api.DataChunk, None]:
        """Follow what a web request's sender sends."""
        return self._find(request.function_call_id).data_in.read(request.last_index)

    @rpc("FunctionCallPutDataOut")
    def put_data_out(
        self, request: api.FunctionCallPutDataRequest, _caller: Caller
    ) -> Empty | Awaitable[Empty]:
        """Take what a generator yields."""
        call = self._calls.get(request.function_call_id)
        if call is None:
            return Empty()
        call.blob_ids += [chunk.data_blob_id for chunk in request.data_chunks if chunk.data_blob_id]
        room = call.data_out.take(request.data_chunks)
        return Empty() if room is None else _empty_after(room)

    def _put(
        self, call: FunctionCall, items: Iterable[api.FunctionPutInputsItem]
    ) -> list[api.FunctionPutInputsResponseItem]:
        accepted = []
        for item in items:
            entry = self._calls.submit(call, item.input, item.idx)
            accepted.append(
                api.FunctionPutInputsResponseItem(
                    idx=item.idx, input_id=entry.id, input_jwt=input_token(item.idx)
                )
            )
        return accepted

    def _acknowledged(self, call: FunctionCall) -> None:
        """The caller of a call it waited for has everything it wants."""
        if call.is_map:
            self._cancel(call, kill_containers=False)  # a map that was left halfway
            self._calls.all_put(call)
        if not call.yields:
            self._calls.forget(call)

    def _cancel(self, call: FunctionCall, *, kill_containers: bool) -> None:
        for entry in list(call.unfinished.values()):
            pool = pool_of(entry.container) if entry.container else call.function.pool
            pool.cancel(entry, kill_container=kill_containers)

    def _expect_caller(self, call: FunctionCall) -> None:
        """A caller stopped waiting for outputs: if it does not come back, nobody wants them."""
        if not call.spawned:
            loop = asyncio.get_running_loop()
            loop.call_later(_CALLER_RETURNS_WITHIN_S, self._cancel_if_left, call, call.asked_at)

    def _cancel_if_left(self, call: FunctionCall, asked_at: float) -> None:
        if call.asked_at == asked_at:
            self._cancel(call, kill_containers=False)
            self._calls.all_put(call)

    def _find(self, call_id: str) -> FunctionCall:
        call = self._calls.get(call_id)
        if call is None:
            refuse(Status.NOT_FOUND, _unknown(call_id))
        return call

    def _earlier(self, call_id: str) -> FinishedCall:
        earlier = self._calls.earlier(call_id)
        if earlier is None:
            refuse(Status.NOT_FOUND, _unknown(call_id))
        return earlier


async def _empty_after(room: Awaitable[None]) -> Empty:
    await room
    return Empty()


def _outstanding(function: FunctionEntry) -> int:
    """How many inputs of a map may be on their way: enough to keep every container busy.

    Each request of a map's caller lists all of them, so a thousand would cost more than they help.
    """
    scaling = function.pool.scaling
    at_work = scaling.per_container * (scaling.maximum or DEFAULT_LIMIT)
    return int(min(_MOST_OUTSTANDING, max(_LEAST_OUTSTANDING, 4 * at_work)))


def _described(
    call_id: str, inputs: int, app_id: str, function_id: str
) -> api.FunctionCallFromIdResponse:
    handle = api.FunctionCallHandleMetadata(app_id=app_id, function_id=function_id)
    return api.FunctionCallFromIdResponse(
        function_call_id=call_id, num_inputs=inputs, metadata=handle
    )


def _unknown(call_id: str) -> str:
    return (
        f"There is no function call {call_id!r} in this local Modal. Results of spawned calls are "
        "kept for seven days; those of other calls until their caller has them."
    )
