"""Dict RPCs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..protocol import Empty, api
from ..store.dicts import DictEntries
from ..store.named import Kind, Shelf, creation_info, public_name
from ..store.records import Record
from ..store.state import State
from ..wire.grpc_server import Caller, rpc, stream_rpc

__all__ = ["Dicts"]

_DICT = Kind("dict", "Dict", "di")


class Dicts:
    """Dicts: those with a name outlive the plane, the others end with it."""

    def __init__(self, state: State) -> None:
        self._shelf = Shelf(_DICT, state.records, state.ephemeral)

    @rpc("DictGetOrCreate")
    async def get_or_create(
        self, request: api.DictGetOrCreateRequest, _caller: Caller
    ) -> api.DictGetOrCreateResponse:
        """Make a dict, or look one up by name."""
        record, new = self._shelf.get_or_create(request)
        if new and request.data:
            self._entries(record.id).put((entry.key, entry.value) for entry in request.data)
        return api.DictGetOrCreateResponse(dict_id=record.id, metadata=_metadata(record))

    @rpc("DictGetById")
    async def get_by_id(
        self, request: api.DictGetByIdRequest, _caller: Caller
    ) -> api.DictGetByIdResponse:
        """Describe a dict."""
        record = self._shelf.find(request.dict_id)
        return api.DictGetByIdResponse(dict_id=record.id, metadata=_metadata(record))

    @rpc("DictHeartbeat")
    async def heartbeat(self, request: api.DictHeartbeatRequest, _caller: Caller) -> Empty:
        """An ephemeral dict is in use."""
        self._shelf.beat(request.dict_id)
        return Empty()

    @rpc("DictUpdate")
    async def update(
        self, request: api.DictUpdateRequest, _caller: Caller
    ) -> api.DictUpdateResponse:
        """Set entries; with ``if_not_exists`` only new ones."""
        updates = ((entry.key, entry.value) for entry in request.updates)
        created = self._entries(request.dict_id).put(updates, only_new=request.if_not_exists)
        return api.DictUpdateResponse(created=created)

    @rpc("DictGet")
    async def get(self, request: api.DictGetRequest, _caller: Caller) -> api.DictGetResponse:
        """Return one value."""
        value = self._entries(request.dict_id).get(request.key)
        return api.DictGetResponse(found=value is not None, value=value or b"")

    @rpc("DictPop")
    async def pop(self, request: api.DictPopRequest, _caller: Caller) -> api.DictPopResponse:
        """Take one value out."""
        value = self._entries(request.dict_id).pop(request.key)
        return api.DictPopResponse(found=value is not None, value=value or b"")

    @rpc("DictContains")
    async def contains(
        self, request: api.DictContainsRequest, _caller: Caller
    ) -> api.DictContainsResponse:
        """Say whether there is such a key."""
        value = self._entries(request.dict_id).get(request.key)
        return api.DictContainsResponse(found=value is not None)

    @rpc("DictLen")
    async def length(self, request: api.DictLenRequest, _caller: Caller) -> api.DictLenResponse:
        """Count the entries."""
        return api.DictLenResponse(len=self._entries(request.dict_id).length())

    @stream_rpc("DictContents")
    async def contents(
        self, request: api.DictContentsRequest, _caller: Caller
    ) -> AsyncIterator[api.DictEntry]:
        """Return keys, values or both."""
        for key, value in self._entries(request.dict_id).items():
            yield api.DictEntry(
                key=key if request.keys else b"", value=value if request.values else b""
            )

    @rpc("DictClear")
    async def clear(self, request: api.DictClearRequest, _caller: Caller) -> Empty:
        """Remove every entry."""
        self._entries(request.dict_id).clear()
        return Empty()

    @rpc("DictDelete")
    async def delete(self, request: api.DictDeleteRequest, _caller: Caller) -> Empty:
        """Remove a dict."""
        self._shelf.delete(request.dict_id)
        return Empty()

    @rpc("DictList")
    async def list_all(self, request: api.DictListRequest, _caller: Caller) -> api.DictListResponse:
        """List an environment's named dicts."""
        response = api.DictListResponse(environment_name=request.environment_name)
        for record in self._shelf.list_named(request.environment_name, request.pagination):
            response.dicts.add(
                name=record.name,
                dict_id=record.id,
                created_at=record.created_at,
                metadata=_metadata(record),
            )
        return response

    def _entries(self, dict_id: str) -> DictEntries:
        record = self._shelf.find(dict_id)
        return DictEntries(self._shelf.home(record.id).database, record.id)


def _metadata(record: Record) -> api.DictMetadata:
    return api.DictMetadata(name=public_name(record), creation_info=creation_info(record))
