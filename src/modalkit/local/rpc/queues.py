"""Queue RPCs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass, field

from grpclib.const import Status

from ..ids import new_id
from ..protocol import Empty, api, refuse
from ..server import Caller, rpc

__all__ = ["Queues"]

_QUEUE_LIMIT = 5_000


@dataclass
class _Queue:
    name: str
    environment: str
    id: str = field(default_factory=lambda: new_id("qu"))
    created_at: float = field(default_factory=time.time)
    partitions: dict[bytes, deque[tuple[int, bytes]]] = field(default_factory=dict)
    numbered: int = 0
    grew: asyncio.Event = field(default_factory=asyncio.Event)

    def metadata(self) -> api.QueueMetadata:
        creation = api.CreationInfo(created_at=self.created_at)
        return api.QueueMetadata(name=self.name, creation_info=creation)

    def partition(self, key: bytes) -> deque[tuple[int, bytes]]:
        return self.partitions.setdefault(key, deque())

    def wake(self) -> None:
        self.grew.set()
        self.grew = asyncio.Event()

    async def wait(self, deadline: float) -> bool:
        """Wait for something new; False when the deadline passed."""
        grew = self.grew
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline - time.monotonic()):
                await grew.wait()
            return True
        return False


class Queues:
    """Queues; they live as long as the plane."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    @rpc("QueueGetOrCreate")
    async def get_or_create(
        self, request: api.QueueGetOrCreateRequest, _caller: Caller
    ) -> api.QueueGetOrCreateResponse:
        """Make a queue, or look one up by name."""
        environment = request.environment_name or "main"
        kind = request.object_creation_type
        found = self._named(request.deployment_name, environment)
        if kind == api.OBJECT_CREATION_TYPE_EPHEMERAL:
            found = None
        elif found is None and kind == api.OBJECT_CREATION_TYPE_UNSPECIFIED:
            refuse(
                Status.NOT_FOUND,
                f"There is no Queue {request.deployment_name!r} here; pass create_if_missing=True.",
            )
        elif found is not None and kind == api.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            refuse(Status.ALREADY_EXISTS, f"A Queue {request.deployment_name!r} exists already.")
        if found is None:
            found = _Queue(request.deployment_name, environment)
            self._queues[found.id] = found
        return api.QueueGetOrCreateResponse(queue_id=found.id, metadata=found.metadata())

    @rpc("QueueGetById")
    async def get_by_id(
        self, request: api.QueueGetByIdRequest, _caller: Caller
    ) -> api.QueueGetByIdResponse:
        """Describe a queue."""
        metadata = self._find(request.queue_id).metadata()
        return api.QueueGetByIdResponse(queue_id=request.queue_id, metadata=metadata)

    @rpc("QueueHeartbeat")
    async def heartbeat(self, _request: api.QueueHeartbeatRequest, _caller: Caller) -> Empty:
        """An ephemeral queue is in use."""
        return Empty()

    @rpc("QueuePut")
    async def put(self, request: api.QueuePutRequest, _caller: Caller) -> Empty:
        """Append values to a partition of at most 5,000."""
        queue = self._find(request.queue_id)
        partition = queue.partition(request.partition_key)
        if len(partition) + len(request.values) > _QUEUE_LIMIT:
            refuse(Status.RESOURCE_EXHAUSTED, f"The queue is full ({_QUEUE_LIMIT} items).")
        for value in request.values:
            queue.numbered += 1
            partition.append((queue.numbered, value))
        queue.wake()
        return Empty()

    @rpc("QueueGet")
    async def get(self, request: api.QueueGetRequest, _caller: Caller) -> api.QueueGetResponse:
        """Take values from a partition, waiting up to the timeout for the first."""
        queue = self._find(request.queue_id)
        deadline = time.monotonic() + request.timeout
        while not (partition := queue.partition(request.partition_key)):
            if not await queue.wait(deadline):
                return api.QueueGetResponse()
        taken = min(len(partition), request.n_values or 1)
        return api.QueueGetResponse(values=[partition.popleft()[1] for _ in range(taken)])

    @rpc("QueueNextItems")
    async def next_items(
        self, request: api.QueueNextItemsRequest, _caller: Caller
    ) -> api.QueueNextItemsResponse:
        """Look at values without taking them."""
        queue = self._find(request.queue_id)
        deadline = time.monotonic() + request.item_poll_timeout
        after = int(request.last_entry_id or 0)
        while True:
            found = [item for item in queue.partition(request.partition_key) if item[0] > after]
            if found or not await queue.wait(deadline):
                break
        items = [api.QueueItem(value=value, entry_id=str(number)) for number, value in found]
        return api.QueueNextItemsResponse(items=items)

    @rpc("QueueLen")
    async def length(self, request: api.QueueLenRequest, _caller: Caller) -> api.QueueLenResponse:
        """Count a partition's values, or all."""
        queue = self._find(request.queue_id)
        if request.total:
            return api.QueueLenResponse(len=sum(map(len, queue.partitions.values())))
        return api.QueueLenResponse(len=len(queue.partition(request.partition_key)))

    @rpc("QueueClear")
    async def clear(self, request: api.QueueClearRequest, _caller: Caller) -> Empty:
        """Empty a partition, or all."""
        queue = self._find(request.queue_id)
        if request.all_partitions:
            queue.partitions.clear()
        else:
            queue.partition(request.partition_key).clear()
        return Empty()

    @rpc("QueueDelete")
    async def delete(self, request: api.QueueDeleteRequest, _caller: Caller) -> Empty:
        """Remove a queue."""
        self._queues.pop(request.queue_id, None)
        return Empty()

    @rpc("QueueList")
    async def list_all(
        self, request: api.QueueListRequest, _caller: Caller
    ) -> api.QueueListResponse:
        """List an environment's named queues."""
        before, response = request.pagination.created_before, api.QueueListResponse()
        for found in sorted(self._queues.values(), key=lambda one: -one.created_at):
            mine = found.environment == (request.environment_name or "main")
            if found.name and mine and (not before or found.created_at < before):
                response.queues.add(
                    name=found.name,
                    queue_id=found.id,
                    created_at=found.created_at,
                    num_partitions=len(found.partitions),
                    total_size=sum(map(len, found.partitions.values())),
                    metadata=found.metadata(),
                )
        return response

    def _named(self, name: str, environment: str) -> _Queue | None:
        for found in self._queues.values():
            if name and found.name == name and found.environment == environment:
                return found
        return None

    def _find(self, queue_id: str) -> _Queue:
        if queue_id not in self._queues:
            refuse(Status.NOT_FOUND, f"There is no Queue {queue_id!r} in this local Modal.")
        return self._queues[queue_id]
