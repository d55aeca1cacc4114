"""What the client asks about itself: who it talks to, as whom, with which token."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable

from grpclib.const import Status

from ..ids import content_id
from ..protocol import Empty, api, builder_version, refuse
from ..store.environments import DEFAULT_ENVIRONMENT
from ..wire.grpc_server import Caller, rpc

__all__ = ["WorkspaceRpcs"]

_TOKEN_LIFETIME_S = 24 * 3600
_LABEL = "of this local Modal, worth nothing elsewhere"
_WORKSPACE, _USER = "local", "local"
_WORKSPACE_ID, _USER_ID = "ac-local", "us-local"


class WorkspaceRpcs:
    """A workspace called "local" with one user of that name, who may do everything.

    Args:
        page: Returns where the local Modal can be looked at.
        met: Told that a client has come.
        notice: Tells the user something, once.
    """

    def __init__(
        self, page: Callable[[], str], met: Callable[[], None], notice: Callable[[str], None]
    ) -> None:
        self._page = page
        self._met = met
        self._notice = notice

    @rpc("ClientHello")
    async def hello(self, _request: Empty, _caller: Caller) -> api.ClientHelloResponse:
        """Greet a client."""
        self._met()
        return api.ClientHelloResponse(image_builder_version=builder_version())

    @rpc("WorkspaceNameLookup")
    async def workspace(self, _request: Empty, _caller: Caller) -> api.WorkspaceNameLookupResponse:
        """Say whose workspace this is."""
        return api.WorkspaceNameLookupResponse(workspace_name=_WORKSPACE, username=_USER)

    @rpc("WorkspaceDashboardUrlGet")
    async def dashboard(
        self, _request: api.WorkspaceDashboardUrlRequest, _caller: Caller
    ) -> api.WorkspaceDashboardUrlResponse:
        """Say where to look at it."""
        return api.WorkspaceDashboardUrlResponse(url=self._page())

    @rpc("WorkspaceSettings")
    async def settings(self, _request: Empty, _caller: Caller) -> api.WorkspaceSettingsResponse:
        """Say what new things start with."""
        return api.WorkspaceSettingsResponse(
            default_environment_name=DEFAULT_ENVIRONMENT, image_builder_version=builder_version()
        )

    @rpc("WorkspaceMembersList")
    async def members(self, _request: Empty, _caller: Caller) -> api.WorkspaceMembersListResponse:
        """List the one user there is."""
        member = api.WorkspaceMembersListItem(
            member_id=_USER_ID,
            user_id=_USER_ID,
            member_displayname=_USER,
            member_role=api.MEMBER_ROLE_OWNER,
        )
        return api.WorkspaceMembersListResponse(members=[member])

    @rpc("TokenInfoGet")
    async def token_info(
        self, _request: api.TokenInfoGetRequest, caller: Caller
    ) -> api.TokenInfoGetResponse:
        """Say who the local token stands for."""
        return api.TokenInfoGetResponse(
            token_id="" if caller.container else "ak-local",
            token_name=_LABEL,
            workspace_id=_WORKSPACE_ID,
            workspace_name=_WORKSPACE,
            user_identity=api.UserIdentity(user_id=_USER_ID, username=_USER),
        )

    @rpc("TokenFlowCreate")
    async def new_token(
        self, _request: api.TokenFlowCreateRequest, _caller: Caller
    ) -> api.TokenFlowCreateResponse:
        """Refuse to make a token: a local Modal has the one it started with."""
        refuse(
            Status.FAILED_PRECONDITION,
            "A local Modal needs no token and makes none. For a token of your Modal account run "
            "`modal token new` without `modalkit local`.",
        )

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

    @rpc("ProxyGet")
    async def proxy(self, request: api.ProxyGetRequest, _caller: Caller) -> api.ProxyGetResponse:
        """Stand for a proxy that was made on Modal: what passes there goes out directly here."""
        name = request.name
        self._notice(f"proxy {name!r}: requests leave from this machine's own address")
        proxy = api.Proxy(name=name, proxy_id=content_id("pr", name.encode()))
        return api.ProxyGetResponse(proxy=proxy)

    @rpc("ObjectSuggest")
    async def suggest(
        self, _request: api.ObjectSuggestRequest, _caller: Caller
    ) -> api.ObjectSuggestResponse:
        """Suggest nothing for a mistyped name."""
        return api.ObjectSuggestResponse()
