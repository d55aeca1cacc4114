"""Calling functions, from the client's side."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from grpclib.const import Status

from ..calls import Calls, FunctionCall
from ..functions import Functions
from ..ids import input_token
from ..protocol import Empty, api, refuse
from ..server import Caller, rpc, stream_rpc

__all__ = ["CallRpcs"]

_INPUTS_OUTSTANDING = 1000


class CallRpcs:
    """Calls: put inputs in, get outputs out, cancel."""

    def __init__(self, calls: Calls, functions: Functions) -> None:
        self._calls = calls
        self._functions = functions

    @rpc("FunctionMap")
    async def start(
        self, request: api.FunctionMapRequest, _caller: Caller
    ) -> api.FunctionMapResponse:
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
            max_inputs_outstanding=_INPUTS_OUTSTANDING,
        )

    @rpc("FunctionPutInputs")
    async def put_inputs(
        self, request: api.FunctionPutInputsRequest, _caller: Caller
    ) -> api.FunctionPutInputsResponse:
        """Add inputs to a call."""
        call = self._find(request.function_call_id)
        return api.FunctionPutInputsResponse(inputs=self._put(call, request.inputs))

    @rpc("FunctionFinishInputs")
    async def finish_inputs(
        self, _request: api.FunctionFinishInputsRequest, _caller: Caller
    ) -> Empty:
        """The caller of a spawned map has sent everything; nothing depends on it here."""
        return Empty()

    @rpc("FunctionGetOutputs")
    async def get_outputs(
        self, request: api.FunctionGetOutputsRequest, _caller: Caller
    ) -> api.FunctionGetOutputsResponse:
        """Wait for outputs."""
        call = self._find(request.function_call_id)
        response = await call.outputs(request)
        if request.clear_on_success and not call.yields:
            self._calls.forget(call)
        return response

    @rpc("FunctionCallCancel")
    async def cancel(self, request: api.FunctionCallCancelRequest, _caller: Caller) -> Empty:
        """Cancel every unfinished input of a call."""
        call = self._find(request.function_call_id)
        for entry in list(call.unfinished.values()):
            call.function.pool.cancel(entry, kill_container=request.terminate_containers)
        return Empty()

    @rpc("FunctionCallFromId")
    async def from_id(
        self, request: api.FunctionCallFromIdRequest, _caller: Caller
    ) -> api.FunctionCallFromIdResponse:
        """Describe a call."""
        call = self._find(request.function_call_id)
        handle = api.FunctionCallHandleMetadata(
            app_id=call.function.app.id, function_id=call.function.id
        )
        return api.FunctionCallFromIdResponse(
            function_call_id=call.id, num_inputs=call.inputs_total, metadata=handle
        )

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
    async def data_in(
        self, request: api.FunctionCallGetDataRequest, _caller: Caller
    ) -> AsyncGenerator[api.DataChunk, None]:
        """Follow what a web request's sender sends."""
        call = self._find(request.function_call_id)
        async with aclosing(call.data_in.read(request.last_index)) as chunks:
            async for chunk in chunks:
                yield chunk

    @rpc("FunctionCallPutDataOut")
    async def put_data_out(self, request: api.FunctionCallPutDataRequest, _caller: Caller) -> Empty:
        """Take what a generator yields."""
        call = self._calls.get(request.function_call_id)
        if call is not None:
            await call.data_out.put(request.data_chunks)
        return Empty()

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

    def _find(self, call_id: str) -> FunctionCall:
        call = self._calls.get(call_id)
        if call is None:
            refuse(Status.NOT_FOUND, f"There is no function call {call_id!r} in this local Modal.")
        return call
