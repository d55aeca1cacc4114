"""What the client asks about itself: who it talks to, which environment, which token."""

from __future__ import annotations

import base64
import json
import time

from ..ids import content_id
from ..protocol import Empty, api, builder_version
from ..server import Caller, rpc

__all__ = ["WorkspaceRpcs"]

_TOKEN_LIFETIME_S = 24 * 3600


class WorkspaceRpcs:
    """A workspace called "local"; environments are names that exist as soon as they are used."""

    @rpc("ClientHello")
    async def hello(self, _request: Empty, _caller: Caller) -> api.ClientHelloResponse:
        """Greet a client."""
        return api.ClientHelloResponse(image_builder_version=builder_version())

    @rpc("WorkspaceNameLookup")
    async def workspace(self, _request: Empty, _caller: Caller) -> api.WorkspaceNameLookupResponse:
        """Say whose workspace this is."""
        return api.WorkspaceNameLookupResponse(workspace_name="local", username="local")

    @rpc("EnvironmentGetOrCreate")
    async def environment(
        self, request: api.EnvironmentGetOrCreateRequest, _caller: Caller
    ) -> api.EnvironmentGetOrCreateResponse:
        """Describe an environment."""
        name = request.deployment_name or "main"
        settings = api.EnvironmentSettings(image_builder_version=builder_version())
        return api.EnvironmentGetOrCreateResponse(
            environment_id=content_id("en", name.encode()),
            metadata=api.EnvironmentMetadata(name=name, settings=settings),
        )

    @rpc("EnvironmentList")
    async def environments(self, _request: Empty, _caller: Caller) -> api.EnvironmentListResponse:
        """List the environment everyone starts in."""
        item = api.EnvironmentListItem(
            name="main", default=True, environment_id=content_id("en", b"main")
        )
        return api.EnvironmentListResponse(items=[item])

    @rpc("AuthTokenGet")
    async def token(
        self, _request: api.AuthTokenGetRequest, _caller: Caller
    ) -> api.AuthTokenGetResponse:
        """Return a token of the right shape; nothing here checks it."""

        def part(value: dict[str, object]) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        expires = int(time.time()) + _TOKEN_LIFETIME_S
        token = f"{part({'alg': 'none'})}.{part({'exp': expires})}.local"
        return api.AuthTokenGetResponse(token=token)

    @rpc("ObjectSuggest")
    async def suggest(
        self, _request: api.ObjectSuggestRequest, _caller: Caller
    ) -> api.ObjectSuggestResponse:
        """Suggest nothing for a mistyped name."""
        return api.ObjectSuggestResponse()
