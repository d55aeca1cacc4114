"""Web endpoints: HTTP and WebSocket in, Modal's ASGI messages to a container, and back.

Each endpoint has a port of its own, so it has an origin of its own and any path works, such as an
OpenAI client's ``base_url=URL + "/v1"``. Nothing is buffered: what the app sends is written to the
connection at once.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from aiohttp import web

from ..apps.functions import FunctionEntry
from ..apps.params import from_query
from ..calls.calls import Calls, FunctionCall, Input
from ..protocol import api
from ..wire.exchange import UNREAD_LIMIT, Exchange
from ..wire.http1 import RequestHead
from ..wire.http_server import HttpServer
from ..wire.proxy_auth import ProxyAuth
from .requests import RESULT_PARAMETER, WebCall, cancel_later
from .websockets import carry_websocket

__all__ = ["WebEndpoint"]

_SOCKET_GRACE_S = 30.0
_HEADER_LIMIT = 64 * 1024


@dataclass(eq=False)
class WebEndpoint:
    """One endpoint of a function or method.

    Attributes:
        method: The method's name; empty for a function.
        blob_path: Where a large chunk's bytes are.
        patience_s: How long a request waits for its response to begin before it is told, by a
            redirect, to go on waiting at another URL. Modal's is 150 s.
    """

    function: FunctionEntry
    method: str
    calls: Calls
    auth: ProxyAuth
    blob_path: Callable[[str], Path]
    sock: socket.socket
    patience_s: float = 150.0
    redirected: dict[str, WebCall] = field(default_factory=dict)
    _server: HttpServer | None = None
    _sockets: web.Server | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.sock.getsockname()[1]}"

    async def open(self) -> None:
        """Start listening."""
        self._sockets = web.Server(
            self._websocket,
            handler_cancellation=False,  # the app hears of it as its own message
            access_log=None,
            max_line_size=_HEADER_LIMIT,
            max_field_size=_HEADER_LIMIT,
        )
        self._server = HttpServer(self._handle, _comes_whole, self._sockets)
        await self._server.start(self.sock)

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        if self._server is not None:
            self._server.close()
        if self._sockets is not None:
            await self._sockets.shutdown(0)
        for waiting in list(self.redirected.values()):
            waiting.give_up()

    def _start(
        self, function: FunctionEntry, scope: dict[str, object]
    ) -> tuple[FunctionCall, Input]:
        """Call the function with a connection scope."""
        call = self.calls.create(
            FunctionCall(function, invocation=api.FUNCTION_CALL_INVOCATION_TYPE_SYNC, web=True)
        )
        message = api.FunctionInput(
            args=pickle.dumps(((scope,), {}), protocol=4),
            data_format=api.DATA_FORMAT_PICKLE,
            method_name=self.method,
        )
        return call, self.calls.submit(call, message, 0)

    def _handle(self, exchange: Exchange) -> None:
        """Take one request."""
        head = exchange.head
        url = urlsplit(head.target.decode("latin-1"))
        query = dict(parse_qsl(url.query, keep_blank_values=True)) if url.query else {}
        if refusal := self._refusal(head.headers):
            exchange.answer(HTTPStatus.UNAUTHORIZED, refusal)
        elif RESULT_PARAMETER in query:
            self._resume(exchange, query[RESULT_PARAMETER])
        else:
            try:
                function = self._instance(query)
            except ValueError as error:
                exchange.answer(HTTPStatus.BAD_REQUEST, str(error))
                return
            call, entry = self._start(function, _http_scope(exchange))
            started = WebCall(call, entry, self.calls, self.blob_path, self.redirected)
            started.begin(exchange, self.patience_s)

    def _resume(self, exchange: Exchange, call_id: str) -> None:
        """Go on with a request that was redirected."""
        waiting = self.redirected.get(call_id)
        if exchange.head.method not in {"GET", "HEAD"}:
            exchange.answer(HTTPStatus.BAD_REQUEST, "modal-http: bad redirect method")
        elif waiting is None:
            exchange.answer(HTTPStatus.NOT_FOUND, "modal-http: invalid function call")
        else:
            waiting.attach(exchange)

    def _refusal(self, headers: list[tuple[bytes, bytes]]) -> str:
        """Say why a request is not let in, or nothing."""
        return self.auth.refusal(headers) if self._config().requires_proxy_auth else ""

    def _instance(self, query: dict[str, str]) -> FunctionEntry:
        """Return what serves a request: for a parametrised class, the query selects it."""
        if not self.function.parameters:
            return self.function
        params = from_query(self.function.parameters, query)
        bind = api.FunctionBindParamsRequest(serialized_params=params)
        return self.function.variant(bind)

    def _config(self) -> api.WebhookConfig:
        definition = self.function.definition
        methods = definition.method_definitions
        config: api.WebhookConfig = (
            methods[self.method].webhook_config if self.method else definition.webhook_config
        )
        return config

    async def _websocket(self, request: web.BaseRequest) -> web.StreamResponse:
        if refusal := self._refusal(_lower(request.raw_headers)):
            return web.Response(status=HTTPStatus.UNAUTHORIZED, text=refusal)
        try:
            function = self._instance(dict(request.query))
        except ValueError as error:
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=str(error))
        peer = request.transport.get_extra_info("peername") if request.transport else None
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        scope = {
            **_scope("websocket", request.raw_path.encode("latin-1"), peer or ("", 0)),
            "scheme": "ws",
            "headers": _lower(request.raw_headers),
            "server": self.sock.getsockname()[:2],
            "subprotocols": [name.strip() for name in offered.split(",") if name.strip()],
        }
        call, entry = self._start(function, scope)
        try:
            return await carry_websocket(
                request, call, self.blob_path, lambda: cancel_later(entry, _SOCKET_GRACE_S)
            )
        finally:
            call.data_out.close()
            self.calls.forget_later(call)
            cancel_later(entry, _SOCKET_GRACE_S)


def _comes_whole(head: RequestHead) -> bool:
    """Whether a request is handed over only with its whole body: one small enough to keep."""
    length = head.get(b"content-length")
    return length.isdigit() and int(length) <= UNREAD_LIMIT


def _lower(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers]


def _http_scope(exchange: Exchange) -> dict[str, object]:
    """Describe an HTTP request the way ASGI does."""
    head = exchange.head
    return {
        **_scope("http", head.target, exchange.client),
        "http_version": f"1.{head.minor}",
        "method": head.method,
        "scheme": "http",
        "headers": head.headers,
        "server": exchange.server,
    }


def _scope(kind: str, target: bytes, client: tuple[str, int]) -> dict[str, object]:
    """Describe what every connection has; the target may be a whole URL, as a proxy is sent."""
    if not target.startswith((b"/", b"*")):
        parts = urlsplit(target.decode("latin-1"))
        target = f"{parts.path or '/'}?{parts.query}".encode("latin-1")
    path, _, query = target.partition(b"?")
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "client": client[:2],
    }
