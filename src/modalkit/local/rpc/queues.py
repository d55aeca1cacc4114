"""Queue RPCs."""

from __future__ import annotations

import time

from ..protocol import Empty, api
from ..store.named import Kind, Shelf, creation_info, public_name
from ..store.queues import Arrivals, QueueItems
from ..store.records import Record
from ..store.state import State
from ..wire.grpc_server import Caller, rpc

__all__ = ["Queues"]

_QUEUE = Kind("queue", "Queue", "qu")
_LOOKED_AT_ONCE = 100


class Queues:
    """Queues: those with a name outlive the plane, the others end with it."""

    def __init__(self, state: State) -> None:
        self._shelf = Shelf(_QUEUE, state.records, state.ephemeral)
        self._arrivals = Arrivals(state.records.database)

    @rpc("QueueGetOrCreate")
    async def get_or_create(
        self, request: api.QueueGetOrCreateRequest, _caller: Caller
    ) -> api.QueueGetOrCreateResponse:
        """Make a queue, or look one up by name."""
        record, _new = self._shelf.get_or_create(request)
        return api.QueueGetOrCreateResponse(queue_id=record.id, metadata=_metadata(record))

    @rpc("QueueGetById")
    async def get_by_id(
        self, request: api.QueueGetByIdRequest, _caller: Caller
    ) -> api.QueueGetByIdResponse:
        """Describe a queue."""
        record = self._shelf.find(request.queue_id)
        return api.QueueGetByIdResponse(queue_id=record.id, metadata=_metadata(record))

    @rpc("QueueHeartbeat")
    async def heartbeat(self, request: api.QueueHeartbeatRequest, _caller: Caller) -> Empty:
        """An ephemeral queue is in use."""
        self._shelf.beat(request.queue_id)
        return Empty()

    @rpc("QueuePut")
    async def put(self, request: api.QueuePutRequest, _caller: Caller) -> Empty:
        """Append values to a partition."""
        self._items(request.queue_id).put(
            request.partition_key, request.values, request.partition_ttl_seconds
        )
        self._arrivals.announce(request.queue_id)
        return Empty()

    @rpc("QueueGet")
    async def get(self, request: api.QueueGetRequest, _caller: Caller) -> api.QueueGetResponse:
        """Take values from a partition, waiting up to the timeout for the first."""
        deadline = time.monotonic() + request.timeout
        while True:
            items = self._items(request.queue_id)  # it may be deleted while this waits
            values = items.take(request.partition_key, request.n_values or 1)
            if values or not await self._arrivals.wait(request.queue_id, deadline):
                return api.QueueGetResponse(values=values)

    @rpc("QueueNextItems")
    async def next_items(
        self, request: api.QueueNextItemsRequest, _caller: Caller
    ) -> api.QueueNextItemsResponse:
        """Look at values without taking them, waiting up to the timeout for the first."""
        deadline = time.monotonic() + request.item_poll_timeout
        after = int(request.last_entry_id or 0)
        while True:
            items = self._items(request.queue_id)
            found = items.look(request.partition_key, after, _LOOKED_AT_ONCE)
            if found or not await self._arrivals.wait(request.queue_id, deadline):
                break
        return api.QueueNextItemsResponse(
            items=[api.QueueItem(value=value, entry_id=str(number)) for number, value in found]
        )

    @rpc("QueueLen")
    async def length(self, request: api.QueueLenRequest, _caller: Caller) -> api.QueueLenResponse:
        """Count a partition's values, or all."""
        items = self._items(request.queue_id)
        if request.total:
            return api.QueueLenResponse(len=items.size().items)
        return api.QueueLenResponse(len=items.length(request.partition_key))

    @rpc("QueueClear")
    async def clear(self, request: api.QueueClearRequest, _caller: Caller) -> Empty:
        """Empty a partition, or all."""
        partition = None if request.all_partitions else request.partition_key
        self._items(request.queue_id).clear(partition)
        return Empty()

    @rpc("QueueDelete")
    async def delete(self, request: api.QueueDeleteRequest, _caller: Caller) -> Empty:
        """Remove a queue; those who wait for it are told."""
        self._shelf.delete(request.queue_id)
        self._arrivals.announce(request.queue_id)
        return Empty()

    @rpc("QueueList")
    async def list_all(
        self, request: api.QueueListRequest, _caller: Caller
    ) -> api.QueueListResponse:
        """List an environment's named queues."""
        response = api.QueueListResponse(environment_name=request.environment_name)
        for record in self._shelf.list_named(request.environment_name, request.pagination):
            size = self._items(record.id).size()
            response.queues.add(
                name=record.name,
                queue_id=record.id,
                created_at=record.created_at,
                num_partitions=size.partitions,
                total_size=size.items,
                metadata=_metadata(record),
            )
        return response

    def _items(self, queue_id: str) -> QueueItems:
        record = self._shelf.find(queue_id)
        return QueueItems(self._shelf.home(record.id).database, record.id)


def _metadata(record: Record) -> api.QueueMetadata:
    return api.QueueMetadata(name=public_name(record), creation_info=creation_info(record))
