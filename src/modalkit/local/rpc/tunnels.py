"""`modal.forward`: a port of this machine that leads to one in a function's container."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from grpclib.const import Status

from ..containers.container import Container
from ..containers.tunnels import tunnel
from ..protocol import api, refuse
from ..wire.grpc_server import Caller, rpc

__all__ = ["TunnelRpcs"]

_HOST = "127.0.0.1"


@dataclass(slots=True)
class TunnelRpcs:
    """Ports that containers have forwarded; one is open until its container gives it up or ends."""

    _open: dict[Container, dict[int, AsyncExitStack]] = field(default_factory=dict)

    @rpc("TunnelStart")
    async def start(
        self, request: api.TunnelStartRequest, caller: Caller
    ) -> api.TunnelStartResponse:
        """Forward a port."""
        container = caller.own_container
        if container.function.definition.is_server:
            # This is how a server of a client before 1.6 says that its enter methods are done.
            container.pool.started(container)
            return api.TunnelStartResponse(host=_HOST, port=request.port)
        if not request.unencrypted:
            refuse(
                Status.UNIMPLEMENTED,
                "The local Modal forwards ports without TLS only: write "
                f"modal.forward({request.port}, unencrypted=True) and use the tunnel's tcp_socket.",
            )
        opened = await self._forward(container, request.port)
        return api.TunnelStartResponse(
            host=_HOST, port=opened, unencrypted_host=_HOST, unencrypted_port=opened
        )

    @rpc("TunnelStop")
    async def stop(self, request: api.TunnelStopRequest, caller: Caller) -> api.TunnelStopResponse:
        """Give a port up."""
        stack = self._open.get(caller.own_container, {}).pop(request.port, None)
        if stack is not None:
            await stack.aclose()
        return api.TunnelStopResponse(exists=stack is not None)

    async def _forward(self, container: Container, port: int) -> int:
        await self._forget_ended()
        forwarded = self._open.setdefault(container, {})
        if port in forwarded:
            refuse(Status.ALREADY_EXISTS, f"Port {port} is already forwarded.")
        forwarded[port] = AsyncExitStack()
        return await forwarded[port].enter_async_context(tunnel(container, port))

    async def _forget_ended(self) -> None:
        for container in [one for one in self._open if one.gone.is_set()]:
            for stack in self._open.pop(container).values():
                await stack.aclose()
