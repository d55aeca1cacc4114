"""gRPC: from a message on a socket to a handler, and back.

Clients come over loopback TCP and show the plane's token. Each container has a Unix socket of its
own: which socket a message came in on says which container sent it, so containers need no
credentials.
"""

from __future__ import annotations

import hmac
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from .protocol import MODAL_VERSION, Message, every_rpc, wants_token

if TYPE_CHECKING:
    from .containers import Container

__all__ = ["Caller", "Rpc", "RpcServers", "rpc", "stream_rpc"]

_LOG = logging.getLogger("modalkit.local")
_NAME = "__modalkit_rpc__"
_Method = TypeVar("_Method", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a message: a container, or a client on this machine."""

    container: Container | None = None

    @property
    def own_container(self) -> Container:
        """The container that sent this; only containers may send it."""
        if self.container is None:
            raise GRPCError(Status.PERMISSION_DENIED, "Only a container may call this.")
        return self.container


@dataclass(frozen=True, slots=True)
class Rpc:
    """One served RPC."""

    handle: Callable[[Any, Caller], Awaitable[Message]] | None = None
    stream: Callable[[Any, Caller], AsyncIterator[Message]] | None = None


def rpc(name: str) -> Callable[[_Method], _Method]:
    """Serve the RPC ``name`` with this ``async def (self, request, caller) -> response``."""

    def mark(method: _Method) -> _Method:
        setattr(method, _NAME, (name, False))
        return method

    return mark


def stream_rpc(name: str) -> Callable[[_Method], _Method]:
    """Serve the RPC ``name`` with this async generator of responses."""

    def mark(method: _Method) -> _Method:
        setattr(method, _NAME, (name, True))
        return method

    return mark


def served_by(parts: list[object]) -> dict[str, Rpc]:
    """Collect the RPCs that a plane's parts serve."""
    table: dict[str, Rpc] = {}
    for part in parts:
        for attribute in vars(type(part)).values():
            if (mark := getattr(attribute, _NAME, None)) is None:
                continue
            name, streams = mark
            bound = attribute.__get__(part)
            table[name] = Rpc(stream=bound) if streams else Rpc(handle=bound)
    return table


class RpcServers:
    """The plane's gRPC servers: one on TCP for clients, one on a Unix socket for each container.

    Args:
        parts: Objects with methods marked by `rpc` and `stream_rpc`.
        token: What a client on TCP must show.
    """

    def __init__(self, parts: list[object], token: str) -> None:
        self._served = served_by(parts)
        self._token = token
        self._rpcs = every_rpc()
        self._client_server: Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serve clients on a listening socket."""
        self._client_server = Server([_Service(self, Caller(), self._token)])
        await self._client_server.start(sock=listener)

    async def open_container_socket(self, container: Container, path: Path) -> Server:
        """Listen for one container on a Unix socket."""
        server = Server([_Service(self, Caller(container), None)])
        await server.start(path=str(path))
        return server

    async def stop(self) -> None:
        """Close the client server and every connection on it."""
        if self._client_server is not None:
            self._client_server.close()
            await self._client_server.wait_closed()

    def mapping(self, caller: Caller, token: str | None) -> dict[str, Handler]:
        """Build the method table for one server."""
        return {
            path: Handler(
                _entry(name, self._served.get(name), caller, token if wants_token(name) else None),
                known.cardinality,
                known.request_type,
                known.reply_type,
            )
            for path, (name, known) in self._rpcs.items()
        }


@dataclass(frozen=True, slots=True)
class _Service:
    """What grpclib wants to see of a service."""

    servers: RpcServers
    caller: Caller
    token: str | None

    def __mapping__(self) -> dict[str, Handler]:
        return self.servers.mapping(self.caller, self.token)


def _entry(
    name: str, served: Rpc | None, caller: Caller, token: str | None
) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
    """Wrap one RPC: check the token, read the request, send what the handler returns."""

    async def call(stream: Stream[Any, Any]) -> None:
        if token is not None and not _shows(stream, token):
            raise GRPCError(Status.UNAUTHENTICATED, _NOT_YOURS)
        request = await stream.recv_message()
        if served is None or request is None:
            raise GRPCError(Status.UNIMPLEMENTED, _not_served(name))
        try:
            if served.stream is not None:
                async for message in served.stream(request, caller):
                    await stream.send_message(message)
            elif served.handle is not None:
                await stream.send_message(await served.handle(request, caller))
        except GRPCError:
            raise
        except Exception as error:
            _LOG.exception("The RPC %s failed", name)
            message = f"The local Modal failed in {name}: {error!r}"
            raise GRPCError(Status.FAILED_PRECONDITION, message) from error

    return call


def _shows(stream: Stream[Any, Any], token: str) -> bool:
    shown = stream.metadata.get("x-modal-token-secret") if stream.metadata else None
    return isinstance(shown, str) and hmac.compare_digest(shown, token)


_NOT_YOURS = (
    "This local Modal was not started for you: its token does not match. "
    "Use the exports that `modalkit local up` prints."
)


def _not_served(name: str) -> str:
    return (
        f"The local Modal does not serve {name} (modal {MODAL_VERSION}). "
        "What needs it works on Modal itself only; `modalkit local --help` lists what runs here."
    )
