"""What a container asks of the plane and tells it."""

from __future__ import annotations

from collections.abc import Awaitable

from ..calls.calls import Input
from ..containers.inputs import pool_of
from ..protocol import Empty, api
from ..wire.grpc_server import Caller, rpc

__all__ = ["ContainerRpcs"]

# A heartbeat is answered when there is something to cancel, or just before the client's 15 s are up.
_HEARTBEAT_HOLD_S = 14.0


class ContainerRpcs:
    """The container's side of calls and of its own life."""

    @rpc("ContainerHello")
    async def hello(self, _request: Empty, caller: Caller) -> Empty:
        """The entrypoint runs."""
        caller.own_container.reached("hello")
        return Empty()

    @rpc("ContainerHeartbeat")
    async def heartbeat(
        self, _request: api.ContainerHeartbeatRequest, caller: Caller
    ) -> api.ContainerHeartbeatResponse:
        """Hold the line until an input is to be cancelled."""
        cancelled = await caller.own_container.cancellations(_HEARTBEAT_HOLD_S)
        if not cancelled:
            return api.ContainerHeartbeatResponse()
        event = api.CancelInputEvent(input_ids=cancelled)
        return api.ContainerHeartbeatResponse(cancel_input_event=event)

    @rpc("FunctionGetInputs")
    def get_inputs(
        self, request: api.FunctionGetInputsRequest, caller: Caller
    ) -> api.FunctionGetInputsResponse | Awaitable[api.FunctionGetInputsResponse]:
        """Hand out work, now or when there is some."""
        container = caller.own_container
        entries = container.pool.next_inputs(container, request.batch_max_size)
        return _handed_out(entries) if isinstance(entries, list) else _hand_out_later(entries)

    @rpc("FunctionPutOutputs")
    def put_outputs(self, request: api.FunctionPutOutputsRequest, caller: Caller) -> Empty:
        """Take outputs."""
        container = caller.own_container
        for output in request.outputs:
            pool_of(container).finished(container, output)
        return Empty()

    @rpc("FunctionGetDynamicConcurrency")
    async def concurrency(
        self, request: api.FunctionGetDynamicConcurrencyRequest, caller: Caller
    ) -> api.FunctionGetDynamicConcurrencyResponse:
        """Say how many inputs the container may work on."""
        pool = pool_of(caller.own_container)
        allowed = pool.concurrency(request.target_concurrency, request.max_concurrency)
        return api.FunctionGetDynamicConcurrencyResponse(concurrency=allowed)

    @rpc("ContainerServerLifecycleReady")
    async def server_ready(
        self, _request: api.ContainerServerLifecycleReadyRequest, caller: Caller
    ) -> Empty:
        """A server's enter methods are done."""
        container = caller.own_container
        container.pool.started(container)
        return Empty()

    @rpc("FlashContainerRegister")
    def listening(
        self, _request: api.FlashContainerRegisterRequest, caller: Caller
    ) -> api.FlashContainerRegisterResponse:
        """A class with `http_server` says, each second, that its port accepts connections."""
        endpoint = caller.own_container.function.endpoints.get("")
        return api.FlashContainerRegisterResponse(url=endpoint.url if endpoint else "")

    @rpc("FlashContainerDeregister")
    def leaving(self, _request: api.FlashContainerDeregisterRequest, _caller: Caller) -> Empty:
        """It accepts no more, because it ends: the plane has told it to, or sees its end."""
        return Empty()

    @rpc("TaskResult")
    async def result(self, request: api.TaskResultRequest, caller: Caller) -> Empty:
        """The container could not start, or failed outside any input."""
        caller.own_container.startup_result = request.result
        return Empty()


async def _hand_out_later(entries: Awaitable[list[Input]]) -> api.FunctionGetInputsResponse:
    return _handed_out(await entries)


def _handed_out(entries: list[Input]) -> api.FunctionGetInputsResponse:
    """Answer with inputs; none tells the container to end."""
    if not entries:
        return api.FunctionGetInputsResponse(inputs=[api.FunctionGetInputsItem(kill_switch=True)])
    return api.FunctionGetInputsResponse(inputs=[_item(entry) for entry in entries])


def _item(entry: Input) -> api.FunctionGetInputsItem:
    return api.FunctionGetInputsItem(
        input_id=entry.id,
        input=entry.message,
        function_call_id=entry.call.id,
        function_call_invocation_type=entry.call.invocation,
        retry_count=entry.attempt,
        function_map_idx=entry.index,
    )
