"""gRPC: from a message on a socket to a handler, and back.

Clients come over loopback TCP and show the plane's token. Each container has a Unix socket of its
own: which socket a message came in on says which container sent it, so containers need no
credentials.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from ...errors import LocalModalError
from ..protocol import Message, every_rpc, names_environment, wants_token
from ..refusals import not_served
from .http2 import Connection, Reply

if TYPE_CHECKING:
    from ..containers.container import Container

__all__ = ["Caller", "RpcServer", "RpcServers", "rpc", "stream_rpc"]

_LOG = logging.getLogger("modalkit.local")
_NAMES = "__modalkit_rpcs__"
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


Handler: TypeAlias = Callable[
    [Any, Caller], Message | Awaitable[Message] | AsyncGenerator[Message, None]
]


def rpc(*names: str) -> Callable[[_Method], _Method]:
    """Serve the RPCs ``names`` with this ``async def (self, request, caller) -> response``.

    A plain ``def`` is answered in the same turn of the event loop, which is what the RPCs that come
    with every input want; it may return an awaitable when it has to wait after all.
    """

    def mark(method: _Method) -> _Method:
        setattr(method, _NAMES, names)
        return method

    return mark


def stream_rpc(name: str) -> Callable[[_Method], _Method]:
    """Serve the RPC ``name`` with this async generator of responses."""
    return rpc(name)


def served_by(parts: list[object]) -> dict[str, Handler]:
    """Collect the RPCs that a plane's parts serve."""
    table: dict[str, Handler] = {}
    for part in parts:
        for attribute in vars(type(part)).values():
            for name in getattr(attribute, _NAMES, ()):
                table[name] = attribute.__get__(part)
    return table


class RpcServers:
    """The plane's gRPC servers: one on TCP for clients, one on a Unix socket for each container.

    Args:
        parts: Objects with methods marked by `rpc` and `stream_rpc`.
        token: What a client on TCP must show.
        settle_environment: Called with every request that names an environment, before it is served.
    """

    def __init__(
        self, parts: list[object], token: str, settle_environment: Callable[[Message], None]
    ) -> None:
        served = served_by(parts)
        self._token = token.encode()
        self._routes = {
            path.encode(): _Route(
                name,
                known.request_type,
                served.get(name),
                settle_environment if names_environment(known) else None,
            )
            for path, (name, known) in every_rpc().items()
        }
        self._client_server: RpcServer | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serve clients on a listening socket."""
        self._client_server = RpcServer(self._routes, Caller(), self._token)
        await self._client_server.start(listener)

    async def open_container_socket(self, container: Container, path: Path) -> RpcServer:
        """Listen for one container on a Unix socket."""
        server = RpcServer(self._routes, Caller(container), None)
        await server.start(path)
        return server

    async def stop(self) -> None:
        """Close the client server and every connection on it."""
        if self._client_server is not None:
            self._client_server.close()


@dataclass(frozen=True, slots=True)
class _Route:
    """Where an RPC's messages go.

    Attributes:
        prepare: Called with the request before it is served.
    """

    name: str
    request_type: type[Any]
    handle: Handler | None
    prepare: Callable[[Message], None] | None

    def answer(self, body: bytes, caller: Caller) -> Reply:
        """Read the request and let its handler answer."""
        if self.handle is None:
            raise GRPCError(Status.UNIMPLEMENTED, not_served(self.name))
        request = self.request_type.FromString(body)
        if self.prepare is not None:
            self.prepare(request)
        response = self.handle(request, caller)
        if isinstance(response, Message):
            return _bytes(response)
        if isinstance(response, AsyncGenerator):
            return _serialised(response, self.name)
        return _awaited(response, self.name)


class RpcServer:
    """One listening socket whose connections all belong to one caller.

    Args:
        token: What every message must show; None where the socket itself says who calls.
    """

    def __init__(self, routes: Mapping[bytes, _Route], caller: Caller, token: bytes | None) -> None:
        self._routes = routes
        self._caller = caller
        self._token = token
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, where: socket.socket | Path) -> None:
        """Listen on a bound socket, or on a Unix socket at a path."""
        loop = asyncio.get_running_loop()
        if isinstance(where, Path):
            self._server = await loop.create_unix_server(self._connect, path=str(where))
        else:
            self._server = await loop.create_server(self._connect, sock=where)

    def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()

    def _connect(self) -> Connection:
        return Connection(self._answer, self._connections)

    def _answer(self, headers: Mapping[bytes, bytes], body: bytes) -> Reply:
        """Check the token, read the request, and let the RPC's handler answer."""
        route = self._routes.get(headers.get(b":path", b""))
        if route is None:
            path = headers.get(b":path", b"").decode(errors="replace")
            raise GRPCError(Status.UNIMPLEMENTED, not_served(path.rpartition("/")[2]))
        if self._token is not None and wants_token(route.name):
            shown = headers.get(b"x-modal-token-secret", b"")
            if not hmac.compare_digest(shown, self._token):
                raise GRPCError(Status.UNAUTHENTICATED, _NOT_YOURS)
        with _said_to_the_caller(route.name):
            return route.answer(body, self._caller)


async def _awaited(response: Awaitable[Message], name: str) -> bytes:
    with _said_to_the_caller(name):
        return _bytes(await response)


async def _serialised(
    messages: AsyncGenerator[Message, None], name: str
) -> AsyncGenerator[bytes, None]:
    with _said_to_the_caller(name):
        async with aclosing(messages):
            async for message in messages:
                yield _bytes(message)


class _said_to_the_caller:  # noqa: N801 - reads as a `with` clause; a class costs less than a generator
    """Turn whatever goes wrong in the RPC ``name`` into an answer."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _where: object) -> None:
        if error is None or isinstance(error, GRPCError) or not isinstance(error, Exception):
            return
        if isinstance(error, LocalModalError):
            raise GRPCError(Status.FAILED_PRECONDITION, str(error)) from error
        _LOG.error("The RPC %s failed", self._name, exc_info=error)
        message = f"The local Modal failed in {self._name}: {error!r}"
        raise GRPCError(Status.FAILED_PRECONDITION, message) from error


def _bytes(message: Message) -> bytes:
    serialised: bytes = message.SerializeToString()
    return serialised


_NOT_YOURS = (
    "This local Modal was not started for you: its token does not match. "
    "Use the exports that `modalkit local up` prints."
)
