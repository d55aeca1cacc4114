"""`modal.forward`: a port of this machine that leads to one in a function's container."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from grpclib.const import Status

from ..containers.container import Container
from ..containers.tunnels import tunnel
from ..protocol import api, refuse, serves_http
from ..wire.grpc_server import Caller, rpc
from ..wire.trust import TLS_HOST, Trust

__all__ = ["TunnelRpcs"]

_HOST = "127.0.0.1"


@dataclass(slots=True)
class TunnelRpcs:
    """Ports that containers have forwarded; one is open until its container gives it up or ends."""

    trust: Trust
    _open: dict[Container, dict[int, AsyncExitStack]] = field(default_factory=dict)

    @rpc("TunnelStart")
    async def start(
        self, request: api.TunnelStartRequest, caller: Caller
    ) -> api.TunnelStartResponse:
        """Forward a port."""
        container = caller.own_container
        if serves_http(container.function.definition):
            # So says a class with `http_server`, or a server of a client before 1.6, that its enter
            # methods are done.
            container.pool.started(container)
            return api.TunnelStartResponse(host=_HOST, port=request.port)
        if request.unencrypted:
            opened = await self._forward(container, request.port, None)
            return api.TunnelStartResponse(
                host=_HOST, port=opened, unencrypted_host=_HOST, unencrypted_port=opened
            )
        http2 = request.tunnel_type == api.TUNNEL_TYPE_H2
        tls = await self.trust.server_context(http2=http2)
        opened = await self._forward(container, request.port, tls)
        return api.TunnelStartResponse(host=TLS_HOST, port=opened)

    @rpc("TunnelStop")
    async def stop(self, request: api.TunnelStopRequest, caller: Caller) -> api.TunnelStopResponse:
        """Give a port up."""
        stack = self._open.get(caller.own_container, {}).pop(request.port, None)
        if stack is not None:
            await stack.aclose()
        return api.TunnelStopResponse(exists=stack is not None)

    async def _forward(self, container: Container, port: int, tls: ssl.SSLContext | None) -> int:
        await self._forget_ended()
        forwarded = self._open.setdefault(container, {})
        if port in forwarded:
            refuse(Status.ALREADY_EXISTS, f"Port {port} is already forwarded.")
        forwarded[port] = AsyncExitStack()
        return await forwarded[port].enter_async_context(tunnel(container, port, tls))

    async def _forget_ended(self) -> None:
        for container in [one for one in self._open if one.gone.is_set()]:
            for stack in self._open.pop(container).values():
                await stack.aclose()
