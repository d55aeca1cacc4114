"""WebSockets: a client's messages to an app's function call, and the app's to the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

from aiohttp import WSMsgType, web

from ..calls.calls import FunctionCall
from ..protocol import api

__all__ = ["carry_websocket"]

_WS_LIMIT = 64 * 1024 * 1024
_PING_S = 30.0


async def carry_websocket(
    request: web.BaseRequest,
    call: FunctionCall,
    blob_path: Callable[[str], Path],
    client_left: Callable[[], None],
) -> web.StreamResponse:
    """Carry a connection between its client and a started call until either closes it."""
    await _put(call, api.Asgi(websocket_connect=api.Asgi.WebsocketConnect()))
    connection: web.WebSocketResponse | None = None
    reader: asyncio.Task[None] | None = None
    try:
        async with aclosing(_messages(call, blob_path)) as messages:
            async for message in messages:
                if message.HasField("websocket_accept"):
                    connection = _accepted(message.websocket_accept)
                    await connection.prepare(request)
                    reader = asyncio.create_task(_feed(connection, call))
                    reader.add_done_callback(lambda _: client_left())
                elif connection is None:
                    break
                elif message.HasField("websocket_send"):
                    await _send(connection, message.websocket_send)
                elif message.HasField("websocket_close"):
                    close = message.websocket_close
                    await connection.close(code=close.code or 1000, message=close.reason.encode())
                    break
        return connection or web.Response(status=403, text="The app refused the WebSocket.")
    except ConnectionError:
        return connection or web.Response(status=403)  # the client went away; its reader says so
    finally:
        if connection is not None and not connection.closed:
            await connection.close(code=1011)
        if reader is not None:
            reader.cancel()


async def _messages(
    call: FunctionCall, blob_path: Callable[[str], Path]
) -> AsyncGenerator[api.Asgi, None]:
    """Yield the app's messages until its call ends."""
    async with aclosing(call.data_out.read(until_closed=True)) as chunks:
        async for chunk in chunks:
            data = chunk.data
            if chunk.data_blob_id:
                data = await asyncio.to_thread(blob_path(chunk.data_blob_id).read_bytes)
            yield api.Asgi.FromString(data)


async def _put(call: FunctionCall, message: api.Asgi) -> None:
    data = message.SerializeToString()
    await call.data_in.put([api.DataChunk(data_format=api.DATA_FORMAT_ASGI, data=data)])


def _accepted(accept: api.Asgi.WebsocketAccept) -> web.WebSocketResponse:
    protocols = [accept.subprotocol] if accept.subprotocol else []
    connection = web.WebSocketResponse(
        protocols=protocols, max_msg_size=_WS_LIMIT, heartbeat=_PING_S
    )
    texts = [item.decode("latin-1") for item in accept.headers]
    for name, value in zip(texts[::2], texts[1::2], strict=False):
        connection.headers.add(name, value)
    return connection


async def _feed(connection: web.WebSocketResponse, call: FunctionCall) -> None:
    """Send a client's messages on as they come, and at the end how it left."""
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


async def _send(connection: web.WebSocketResponse, sent: api.Asgi.WebsocketSend) -> None:
    if sent.HasField("text"):
        await connection.send_str(sent.text)
    else:
        await connection.send_bytes(sent.bytes)
