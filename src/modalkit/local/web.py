"""Web endpoints: HTTP and WebSocket in, Modal's ASGI messages to a container, and back.

Each endpoint has a port of its own, so it has an origin of its own and any path works, such as an
OpenAI client's ``base_url=URL + "/v1"``. Nothing is buffered: a chunk that the app sends is written
to the connection at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from aiohttp import WSMsgType, web
from multidict import CIMultiDict

from .auth import ProxyAuth
from .calls import Calls, FunctionCall
from .functions import FunctionEntry
from .params import from_query
from .protocol import api

__all__ = ["WebEndpoint"]

_READ_WHOLE_BELOW = 1024 * 1024
_OWN_HEADERS = {"transfer-encoding", "connection", "keep-alive"}
_WS_LIMIT = 64 * 1024 * 1024


@dataclass(eq=False)
class WebEndpoint:
    """One endpoint of a function or method.

    Attributes:
        method: The method's name; empty for a function.
        blob_path: Where a large chunk's bytes are.
    """

    function: FunctionEntry
    method: str
    calls: Calls
    auth: ProxyAuth
    blob_path: Callable[[str], Path]
    sock: socket.socket
    _runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.sock.getsockname()[1]}"

    async def open(self) -> None:
        """Start listening."""
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False)
        await self._runner.setup()
        await web.SockSite(self._runner, self.sock).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._config().requires_proxy_auth and not self.auth.allows(request.headers):
            return web.Response(status=401, text=self.auth.explanation)
        try:
            function = self._instance(request)
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        if "websocket" in request.headers.get("Upgrade", "").lower():
            return await self._websocket(request, function)
        return await self._http(request, function)

    def _instance(self, request: web.BaseRequest) -> FunctionEntry:
        """Return what serves a request: for a parametrised class, the query selects it."""
        if not self.function.parameters:
            return self.function
        params = from_query(self.function.parameters, request.query)
        bind = api.FunctionBindParamsRequest(serialized_params=params)
        return self.function.variant(bind)

    def _config(self) -> api.WebhookConfig:
        definition = self.function.definition
        methods = definition.method_definitions
        config: api.WebhookConfig = (
            methods[self.method].webhook_config if self.method else definition.webhook_config
        )
        return config

    def _start(self, function: FunctionEntry, scope: dict[str, object]) -> FunctionCall:
        """Call the function with a connection scope."""
        call = self.calls.create(
            FunctionCall(function, invocation=api.FUNCTION_CALL_INVOCATION_TYPE_SYNC, web=True)
        )
        message = api.FunctionInput(
            args=pickle.dumps(((scope,), {}), protocol=4),
            data_format=api.DATA_FORMAT_PICKLE,
            method_name=self.method,
        )
        self.calls.submit(call, message, 0)
        return call

    async def _http(self, request: web.BaseRequest, function: FunctionEntry) -> web.StreamResponse:
        call = self._start(function, _scope(request, "http"))
        feeder = asyncio.create_task(_feed_body(request, call))
        try:
            return await self._respond(request, call)
        except asyncio.CancelledError:
            feeder.cancel()
            await _put(call, api.Asgi(http_disconnect=api.Asgi.HttpDisconnect()))
            raise
        finally:
            feeder.cancel()
            call.data_out.close()
            self.calls.forget_later(call)

    async def _respond(self, request: web.BaseRequest, call: FunctionCall) -> web.StreamResponse:
        response: web.StreamResponse | None = None
        async with aclosing(self._messages(call)) as messages:
            async for message in messages:
                if message.HasField("http_response_start") and response is None:
                    response = _response(message.http_response_start)
                    await response.prepare(request)
                elif message.HasField("http_response_body") and response is not None:
                    if message.http_response_body.body:
                        await response.write(message.http_response_body.body)
                    if not message.http_response_body.more_body:
                        await response.write_eof()
                        return response
        if response is not None and request.transport is not None:
            request.transport.abort()  # the app failed halfway: the client must see that
            return response
        output = await call.single_output()
        return web.Response(status=500, text=output.result.exception or "The app sent no response.")

    async def _websocket(
        self, request: web.BaseRequest, function: FunctionEntry
    ) -> web.StreamResponse:
        call = self._start(function, _scope(request, "websocket"))
        await _put(call, api.Asgi(websocket_connect=api.Asgi.WebsocketConnect()))
        connection: web.WebSocketResponse | None = None
        reader: asyncio.Task[None] | None = None
        try:
            async with aclosing(self._messages(call)) as messages:
                async for message in messages:
                    if message.HasField("websocket_accept"):
                        connection = _accepted(message.websocket_accept)
                        await connection.prepare(request)
                        reader = asyncio.create_task(_feed_socket(connection, call))
                    elif connection is None:
                        break
                    elif message.HasField("websocket_send"):
                        await _send_to_socket(connection, message.websocket_send)
                    elif message.HasField("websocket_close"):
                        close = message.websocket_close
                        await connection.close(
                            code=close.code or 1000, message=close.reason.encode()
                        )
                        break
            return connection or web.Response(status=403, text="The app refused the WebSocket.")
        finally:
            if reader is not None:
                reader.cancel()
            if connection is not None and not connection.closed:
                await connection.close(code=1011)
            call.data_out.close()
            self.calls.forget_later(call)

    async def _messages(self, call: FunctionCall) -> AsyncGenerator[api.Asgi, None]:
        """Yield the app's messages until its call ends."""
        async with aclosing(call.data_out.read(until_closed=True)) as chunks:
            async for chunk in chunks:
                data = chunk.data
                if chunk.data_blob_id:
                    data = await asyncio.to_thread(self.blob_path(chunk.data_blob_id).read_bytes)
                yield api.Asgi.FromString(data)


def _scope(request: web.BaseRequest, kind: str) -> dict[str, object]:
    """Describe a connection the way ASGI does."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    path, _, query = request.raw_path.partition("?")
    scope: dict[str, object] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": f"{request.version.major}.{request.version.minor}",
        "scheme": "http" if kind == "http" else "ws",
        "path": request.url.path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
        "client": tuple(peer[:2]) if peer else None,
        "server": request.transport.get_extra_info("sockname")[:2] if request.transport else None,
    }
    if kind == "http":
        return {**scope, "method": request.method}
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    return {**scope, "subprotocols": [name.strip() for name in offered.split(",") if name.strip()]}


async def _put(call: FunctionCall, message: api.Asgi) -> None:
    data = message.SerializeToString()
    await call.data_in.put([api.DataChunk(data_format=api.DATA_FORMAT_ASGI, data=data)])


async def _feed_body(request: web.BaseRequest, call: FunctionCall) -> None:
    """Send a request's body on as it comes; a small one in one message."""

    async def send(body: bytes, *, more: bool) -> None:
        part = api.Asgi.HttpRequest(body=body, more_body=more)
        await _put(call, api.Asgi(http_request=part))

    if not request.can_read_body:
        await send(b"", more=False)
    elif request.content_length is not None and request.content_length < _READ_WHOLE_BELOW:
        with contextlib.suppress(ConnectionError):
            await send(await request.content.read(), more=False)
    else:
        async for data in request.content.iter_chunked(_READ_WHOLE_BELOW):
            await send(data, more=True)
        await send(b"", more=False)


def _pairs(flat: list[bytes]) -> list[tuple[str, str]]:
    texts = [item.decode("latin-1") for item in flat]
    return list(zip(texts[::2], texts[1::2], strict=True))


def _response(start: api.Asgi.HttpResponseStart) -> web.StreamResponse:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in _pairs([*start.headers]):
        if name.lower() not in _OWN_HEADERS:
            headers.add(name, value)
    return web.StreamResponse(status=start.status, headers=headers)


def _accepted(accept: api.Asgi.WebsocketAccept) -> web.WebSocketResponse:
    protocols = [accept.subprotocol] if accept.subprotocol else []
    connection = web.WebSocketResponse(protocols=protocols, max_msg_size=_WS_LIMIT)
    for name, value in _pairs([*accept.headers]):
        connection.headers.add(name, value)
    return connection


async def _feed_socket(connection: web.WebSocketResponse, call: FunctionCall) -> None:
    """Send a client's WebSocket messages on as they come."""
    async for message in connection:
        if message.type == WSMsgType.TEXT:
            part = api.Asgi.WebsocketReceive(text=message.data)
        elif message.type == WSMsgType.BINARY:
            part = api.Asgi.WebsocketReceive(bytes=message.data)
        else:
            continue
        await _put(call, api.Asgi(websocket_receive=part))
    gone = api.Asgi.WebsocketDisconnect(code=connection.close_code or 1005)
    await _put(call, api.Asgi(websocket_disconnect=gone))


async def _send_to_socket(connection: web.WebSocketResponse, sent: api.Asgi.WebsocketSend) -> None:
    if sent.HasField("text"):
        await connection.send_str(sent.text)
    else:
        await connection.send_bytes(sent.bytes)
