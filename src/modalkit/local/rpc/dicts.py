"""Dict RPCs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from grpclib.const import Status

from ..ids import new_id
from ..protocol import Empty, api, refuse
from ..server import Caller, rpc, stream_rpc

__all__ = ["Dicts"]


@dataclass
class _Dict:
    name: str
    environment: str
    id: str = field(default_factory=lambda: new_id("di"))
    created_at: float = field(default_factory=time.time)
    entries: dict[bytes, bytes] = field(default_factory=dict)

    def metadata(self) -> api.DictMetadata:
        creation = api.CreationInfo(created_at=self.created_at)
        return api.DictMetadata(name=self.name, creation_info=creation)


class Dicts:
    """Dicts; they live as long as the plane."""

    def __init__(self) -> None:
        self._dicts: dict[str, _Dict] = {}

    @rpc("DictGetOrCreate")
    async def get_or_create(
        self, request: api.DictGetOrCreateRequest, _caller: Caller
    ) -> api.DictGetOrCreateResponse:
        """Make a dict, or look one up by name."""
        environment = request.environment_name or "main"
        kind = request.object_creation_type
        found = self._named(request.deployment_name, environment)
        if kind == api.OBJECT_CREATION_TYPE_EPHEMERAL:
            found = None
        elif found is None and kind == api.OBJECT_CREATION_TYPE_UNSPECIFIED:
            refuse(
                Status.NOT_FOUND,
                f"There is no Dict {request.deployment_name!r} here; pass create_if_missing=True.",
            )
        elif found is not None and kind == api.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            refuse(Status.ALREADY_EXISTS, f"A Dict {request.deployment_name!r} exists already.")
        if found is None:
            found = _Dict(request.deployment_name, environment)
            found.entries.update({entry.key: entry.value for entry in request.data})
            self._dicts[found.id] = found
        return api.DictGetOrCreateResponse(dict_id=found.id, metadata=found.metadata())

    @rpc("DictGetById")
    async def get_by_id(
        self, request: api.DictGetByIdRequest, _caller: Caller
    ) -> api.DictGetByIdResponse:
        """Describe a dict."""
        metadata = self._find(request.dict_id).metadata()
        return api.DictGetByIdResponse(dict_id=request.dict_id, metadata=metadata)

    @rpc("DictHeartbeat")
    async def heartbeat(self, _request: api.DictHeartbeatRequest, _caller: Caller) -> Empty:
        """An ephemeral dict is in use."""
        return Empty()

    @rpc("DictUpdate")
    async def update(
        self, request: api.DictUpdateRequest, _caller: Caller
    ) -> api.DictUpdateResponse:
        """Set entries; with ``if_not_exists`` only a new one."""
        entries = self._find(request.dict_id).entries
        created = False
        for entry in request.updates:
            if not (request.if_not_exists and entry.key in entries):
                created = created or entry.key not in entries
                entries[entry.key] = entry.value
        return api.DictUpdateResponse(created=created)

    @rpc("DictGet")
    async def get(self, request: api.DictGetRequest, _caller: Caller) -> api.DictGetResponse:
        """Return one value."""
        entries = self._find(request.dict_id).entries
        found = request.key in entries
        return api.DictGetResponse(found=found, value=entries.get(request.key, b""))

    @rpc("DictPop")
    async def pop(self, request: api.DictPopRequest, _caller: Caller) -> api.DictPopResponse:
        """Take one value out."""
        entries = self._find(request.dict_id).entries
        found = request.key in entries
        return api.DictPopResponse(found=found, value=entries.pop(request.key, b""))

    @rpc("DictContains")
    async def contains(
        self, request: api.DictContainsRequest, _caller: Caller
    ) -> api.DictContainsResponse:
        """Say whether there is such a key."""
        return api.DictContainsResponse(found=request.key in self._find(request.dict_id).entries)

    @rpc("DictLen")
    async def length(self, request: api.DictLenRequest, _caller: Caller) -> api.DictLenResponse:
        """Count the entries."""
        return api.DictLenResponse(len=len(self._find(request.dict_id).entries))

    @stream_rpc("DictContents")
    async def contents(
        self, request: api.DictContentsRequest, _caller: Caller
    ) -> AsyncIterator[api.DictEntry]:
        """Return keys, values or both."""
        for key, value in [*self._find(request.dict_id).entries.items()]:
            yield api.DictEntry(
                key=key if request.keys else b"", value=value if request.values else b""
            )

    @rpc("DictClear")
    async def clear(self, request: api.DictClearRequest, _caller: Caller) -> Empty:
        """Remove every entry."""
        self._find(request.dict_id).entries.clear()
        return Empty()

    @rpc("DictDelete")
    async def delete(self, request: api.DictDeleteRequest, _caller: Caller) -> Empty:
        """Remove a dict."""
        self._dicts.pop(request.dict_id, None)
        return Empty()

    @rpc("DictList")
    async def list_all(self, request: api.DictListRequest, _caller: Caller) -> api.DictListResponse:
        """List an environment's named dicts."""
        before, response = request.pagination.created_before, api.DictListResponse()
        for found in sorted(self._dicts.values(), key=lambda one: -one.created_at):
            mine = found.environment == (request.environment_name or "main")
            if found.name and mine and (not before or found.created_at < before):
                response.dicts.add(
                    name=found.name,
                    dict_id=found.id,
                    created_at=found.created_at,
                    metadata=found.metadata(),
                )
        return response

    def _named(self, name: str, environment: str) -> _Dict | None:
        for found in self._dicts.values():
            if name and found.name == name and found.environment == environment:
                return found
        return None

    def _find(self, dict_id: str) -> _Dict:
        if dict_id not in self._dicts:
            refuse(Status.NOT_FOUND, f"There is no Dict {dict_id!r} in this local Modal.")
        return self._dicts[dict_id]
