"""RPCs of secrets: values come in and go to containers; what goes out is names alone."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from grpclib.const import Status

from ..protocol import Empty, api, fitting, refuse
from ..store.named import creation_info
from ..store.records import Record
from ..store.secrets import Secrets
from ..wire.grpc_server import Caller, rpc

__all__ = ["SecretRpcs"]


@dataclass
class SecretRpcs:
    """Makes, describes, changes and removes secrets."""

    secrets: Secrets

    @rpc("SecretGetOrCreate")
    async def get_or_create(
        self, request: api.SecretGetOrCreateRequest, _caller: Caller
    ) -> api.SecretGetOrCreateResponse:
        """Make a secret, or look one up by name."""
        kind = request.object_creation_type
        if kind in {
            api.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP,
            api.OBJECT_CREATION_TYPE_EPHEMERAL,
        }:
            return self._anonymously(dict(request.env_dict))
        environment = request.environment_name
        record = self.secrets.named(environment, request.deployment_name)
        if kind == api.OBJECT_CREATION_TYPE_UNSPECIFIED:
            return self._look_up(record, request)
        if record is not None and kind == api.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            refuse(
                Status.ALREADY_EXISTS,
                f"A secret {request.deployment_name!r} exists already in {environment!r}. "
                "Overwrite it with --force.",
            )
        if record is None or kind == api.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
            record = self.secrets.put(environment, request.deployment_name, dict(request.env_dict))
        return _response(record)

    @rpc("SecretGetInfo")
    async def info(
        self, request: api.SecretGetInfoRequest, _caller: Caller
    ) -> api.SecretGetInfoResponse:
        """Describe a secret, without its values."""
        if self.secrets.is_anonymous(request.secret_id):
            keys = sorted(self.secrets.values(request.secret_id))
            return api.SecretGetInfoResponse(metadata=fitting(api.SecretMetadata, keys=keys))
        return api.SecretGetInfoResponse(metadata=_metadata(self.secrets.find(request.secret_id)))

    @rpc("SecretList")
    async def list_all(
        self, request: api.SecretListRequest, _caller: Caller
    ) -> api.SecretListResponse:
        """List an environment's secrets."""
        environment = request.environment_name
        response = api.SecretListResponse(environment_name=environment)
        before = request.pagination.created_before
        for record in self.secrets.list_all(environment):
            if not before or record.created_at < before:
                response.items.add(
                    label=record.name,
                    secret_id=record.id,
                    created_at=record.created_at,
                    environment_name=environment,
                    metadata=_metadata(record),
                )
        return response

    @rpc("SecretUpdate")
    async def update(self, request: api.SecretUpdateRequest, _caller: Caller) -> Empty:
        """Change some of a secret's values."""
        record = self.secrets.find(request.secret_id)
        values = json.loads(record.body)
        values.update({change.key: change.value for change in request.updates})
        self.secrets.put(record.environment, record.name, values)
        return Empty()

    @rpc("SecretDelete")
    async def delete(self, request: api.SecretDeleteRequest, _caller: Caller) -> Empty:
        """Remove a secret."""
        self.secrets.delete(request.secret_id)
        return Empty()

    def _anonymously(self, values: dict[str, str]) -> api.SecretGetOrCreateResponse:
        secret_id = self.secrets.hold(values)
        metadata = fitting(api.SecretMetadata, keys=sorted(values))
        return api.SecretGetOrCreateResponse(secret_id=secret_id, metadata=metadata)

    def _look_up(
        self, record: Record | None, request: api.SecretGetOrCreateRequest
    ) -> api.SecretGetOrCreateResponse:
        """Return a named secret, or the variables of that name around the plane."""
        required = list(request.required_keys)
        command = _create_command(request.deployment_name, required)
        if record is None and required and all(key in os.environ for key in required):
            return self._anonymously({key: os.environ[key] for key in required})
        if record is None:
            instead = " (or set those variables where you start it)" if required else ""
            refuse(
                Status.NOT_FOUND,
                f"There is no secret {request.deployment_name!r} in the environment "
                f"{request.environment_name!r} of this local Modal. "
                f"Create it with: {command}{instead}",
            )
        if missing := sorted(set(required) - set(json.loads(record.body))):
            refuse(
                Status.FAILED_PRECONDITION,
                f"Secret {request.deployment_name!r} has no {', '.join(missing)}. "
                f"Create it again with: {command} --force",
            )
        return _response(record)


def _create_command(name: str, required: list[str]) -> str:
    pairs = " ".join(f"{key}=..." for key in required or ["KEY"])
    return f"modalkit local modal secret create {name} {pairs}"


def _metadata(record: Record) -> api.SecretMetadata:
    return fitting(
        api.SecretMetadata,
        name=record.name,
        keys=sorted(json.loads(record.body)),
        environment_name=record.environment,
        creation_info=creation_info(record),
    )


def _response(record: Record) -> api.SecretGetOrCreateResponse:
    return api.SecretGetOrCreateResponse(secret_id=record.id, metadata=_metadata(record))
