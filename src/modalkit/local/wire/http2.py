"""The part of HTTP/2 (RFC 9113) that a gRPC server of many small calls needs.

One class, `Connection`, reads frames and writes frames. What arrived together is answered
together: a call that can be answered at once costs one read and one write. It knows gRPC's framing
and nothing of its messages: an `Answer` turns a request's bytes into a reply's.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TypeAlias, cast
from urllib.parse import quote

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from typing_extensions import override

from .header_blocks import HeaderBlockError, HeaderReader, HeaderWriter, literal

__all__ = ["Answer", "Connection", "Reply"]

Reply: TypeAlias = bytes | Awaitable[bytes] | AsyncGenerator[bytes, None]
Answer: TypeAlias = Callable[[Mapping[bytes, bytes], bytes], Reply]
"""Takes a request's headers and message. Returns the reply, what it can be awaited from, or the
replies of a stream. Raises `GRPCError` to refuse."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x01, 0x01, 0x04, 0x08, 0x20
_INITIAL_WINDOW, _MAX_FRAME = 4, 5
_LARGEST_WINDOW = 2**31 - 1
_OUR_MAX_FRAME = 1024 * 1024
_FRAME_HEAD = struct.Struct(">HBBBL")
_FRAME_HEAD_SIZE = 9
_SETTING = struct.Struct(">HL")
_WORD = struct.Struct(">L")
_MESSAGE_HEAD = struct.Struct(">BL")
_LARGEST_MESSAGE = 256 * 1024 * 1024
_GIVE_BACK_WINDOW_AFTER = 16 * 1024 * 1024
_LONGEST_EXPLANATION = 4096
# Each write wakes the other side, and the threads of a container with many calls take turns for it. Where
# this many calls are under way, what is said within this time after a write goes out together, unless it
# is much: whoever makes that is to wait until the other side takes it.
_MANY = 8
_RUSH_S = 0.002
_MOST_HELD = 64 * 1024

_STATUS_200 = b"\x88"  # the eighth entry of the static table
_CONTENT_TYPE = literal(b"content-type", b"application/grpc+proto")
_GRPC_OK = literal(b"grpc-status", b"0")


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """The other side broke the protocol: the connection ends."""


class _Stream:
    """One call on a connection."""

    __slots__ = ("body", "headers", "headers_sent", "id", "task", "window")

    def __init__(self, stream_id: int, headers: dict[bytes, bytes], window: int) -> None:
        self.id = stream_id
        self.headers = headers
        self.body = bytearray()
        self.window = window
        self.task: asyncio.Task[None] | None = None
        self.headers_sent = False

    def leave(self) -> None:
        """Nobody wants the answer any more: whoever makes it hears so, once it has begun to."""
        if self.task is not None:
            self.task.get_loop().call_soon(self.task.cancel)


class Connection(asyncio.Protocol):
    """The server's end of one connection.

    Args:
        answer: Answers its calls.
        open_connections: Holds this connection while it is open.
    """

    def __init__(self, answer: Answer, open_connections: set[Connection]) -> None:
        self._answer = answer
        self._others = open_connections
        self._received = bytearray()
        self._greeted = False
        self._headers_in = HeaderReader()
        self._headers_out = HeaderWriter()
        self._block: tuple[int, bytearray, int] | None = None
        self._streams: dict[int, _Stream] = {}
        self._out: list[bytes] = []
        self._window = self._stream_window = 65_535
        self._max_frame = 16_384
        self._window_grew = asyncio.Event()
        self._taken = asyncio.Event()
        self._taken.set()
        self._unreturned = 0
        self._held = 0
        self._gathering = False
        self._written_at = -math.inf

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._others.add(self)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        settings = _SETTING.pack(_INITIAL_WINDOW, _LARGEST_WINDOW)
        settings += _SETTING.pack(_MAX_FRAME, _OUR_MAX_FRAME)
        self._frame(_SETTINGS, 0, 0, settings)
        self._frame(_WINDOW, 0, 0, _WORD.pack(_LARGEST_WINDOW - self._window))
        self._flush()

    @override
    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            self._read_frames()
        except (_Broken, HeaderBlockError, struct.error):
            self.close()
        self._flush()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._others.discard(self)
        for stream in self._streams.values():
            stream.leave()
        self._streams.clear()

    @override
    def pause_writing(self) -> None:
        self._taken.clear()

    @override
    def resume_writing(self) -> None:
        self._taken.set()

    def close(self) -> None:
        """End the connection; calls on it are cancelled."""
        self._frame(_GOAWAY, 0, 0, bytes(8))
        self._write()
        self._transport.close()

    # Reading

    def _read_frames(self) -> None:
        received, at = self._received, 0
        if not self._greeted:
            if len(received) < len(_PREFACE):
                return
            if not received.startswith(_PREFACE):
                raise _Broken
            self._greeted, at = True, len(_PREFACE)
        while len(received) - at >= _FRAME_HEAD_SIZE:
            high, low, kind, flags, stream_id = _FRAME_HEAD.unpack_from(received, at)
            size = high << 8 | low
            if size > _OUR_MAX_FRAME:
                raise _Broken
            start = at + _FRAME_HEAD_SIZE
            if len(received) - start < size:
                break
            at = start + size
            self._take(kind, flags, stream_id & _LARGEST_WINDOW, bytes(received[start:at]))
        del received[:at]

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and kind != _CONTINUATION:
            raise _Broken
        if kind == _DATA:
            self._take_data(flags, stream_id, payload)
        elif kind == _HEADERS:
            self._take_headers(flags, stream_id, _unpadded(flags, payload))
        elif kind == _CONTINUATION:
            self._take_more_headers(flags, stream_id, payload)
        elif kind == _WINDOW:
            self._take_window(stream_id, _WORD.unpack(payload)[0] & _LARGEST_WINDOW)
        elif kind == _RESET:
            self._take_reset(stream_id)
        elif kind == _SETTINGS and not flags & _ACK:
            self._take_settings(payload)
        elif kind == _PING and not flags & _ACK:
            self._frame(_PING, _ACK, 0, payload)

    def _take_headers(self, flags: int, stream_id: int, block: bytes) -> None:
        if flags & _PRIORITY:
            block = block[5:]
        if flags & _END_HEADERS:
            self._open(stream_id, block, flags)
        else:
            self._block = (stream_id, bytearray(block), flags)

    def _take_more_headers(self, flags: int, stream_id: int, more: bytes) -> None:
        if self._block is None or self._block[0] != stream_id:
            raise _Broken
        _stream_id, block, first_flags = self._block
        block += more
        if len(block) > _OUR_MAX_FRAME:
            raise _Broken
        if flags & _END_HEADERS:
            self._block = None
            self._open(stream_id, bytes(block), first_flags)

    def _open(self, stream_id: int, block: bytes, flags: int) -> None:
        headers = self._headers_in.read(block)
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = _Stream(stream_id, headers, self._stream_window)
            self._streams[stream_id] = stream
        if flags & _END_STREAM:
            self._call(stream)

    def _take_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._unreturned += len(payload)
        if self._unreturned > _GIVE_BACK_WINDOW_AFTER:
            self._frame(_WINDOW, 0, 0, _WORD.pack(self._unreturned))
            self._unreturned = 0
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.body += _unpadded(flags, payload)
        if len(stream.body) > _LARGEST_MESSAGE:
            self._refuse(stream, Status.RESOURCE_EXHAUSTED, "The message is larger than 256 MiB.")
        elif flags & _END_STREAM:
            self._call(stream)

    def _take_settings(self, payload: bytes) -> None:
        for name, value in _SETTING.iter_unpack(payload):
            if name == _INITIAL_WINDOW:
                for stream in self._streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value
                self._wake()
            elif name == _MAX_FRAME:
                self._max_frame = value
        self._frame(_SETTINGS, _ACK, 0, b"")

    def _take_window(self, stream_id: int, more: int) -> None:
        if stream_id == 0:
            self._window += more
        elif (stream := self._streams.get(stream_id)) is not None:
            stream.window += more
        self._wake()

    def _take_reset(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            stream.leave()

    # Answering

    def _call(self, stream: _Stream) -> None:
        if stream.task is not None:
            return
        body = bytes(stream.body)
        stream.body = bytearray()
        if len(body) < _MESSAGE_HEAD.size or body[0] != 0:
            self._refuse(stream, Status.INTERNAL, "The request is not one uncompressed message.")
            return
        try:
            reply = self._answer(stream.headers, body[_MESSAGE_HEAD.size :])
        except GRPCError as error:
            self._refuse(stream, error.status, error.message or "")
            return
        if not isinstance(reply, bytes):
            stream.task = asyncio.get_running_loop().create_task(self._answer_later(stream, reply))
        elif self._room(stream) >= len(reply) + _MESSAGE_HEAD.size:
            self._send(stream, _framed(reply))
            self._finish(stream)
        else:
            later = self._send_in_pieces(stream, _framed(reply), last=True)
            stream.task = asyncio.get_running_loop().create_task(later)

    async def _answer_later(
        self, stream: _Stream, reply: Awaitable[bytes] | AsyncGenerator[bytes, None]
    ) -> None:
        try:
            if isinstance(reply, AsyncGenerator):
                async with aclosing(reply) as messages:
                    async for message in messages:
                        await self._send_in_pieces(stream, _framed(message), last=False)
                self._head(stream)
                self._finish(stream)
            else:
                await self._send_in_pieces(stream, _framed(await reply), last=True)
        except GRPCError as error:
            self._refuse(stream, error.status, error.message or "")
        self._flush()

    async def _send_in_pieces(self, stream: _Stream, data: bytes, *, last: bool) -> None:
        """Send a message as fast as the other side takes it."""
        at = 0
        while at < len(data):
            while (room := self._room(stream)) <= 0:
                self._flush()
                await self._window_grew.wait()
            piece = data[at : at + room] if at or room < len(data) else data
            self._send(stream, piece)
            at += len(piece)
        if last:
            self._finish(stream)
        self._flush()
        await self._taken.wait()  # what the other side does not read stays with whoever makes it

    def _room(self, stream: _Stream) -> int:
        return min(self._window, stream.window)

    def _head(self, stream: _Stream) -> None:
        if not stream.headers_sent:
            stream.headers_sent = True
            block = _STATUS_200 + self._headers_out.kept(_CONTENT_TYPE)
            self._frame(_HEADERS, _END_HEADERS, stream.id, block)

    def _send(self, stream: _Stream, data: bytes) -> None:
        self._head(stream)
        self._window -= len(data)
        stream.window -= len(data)
        for at in range(0, len(data), self._max_frame):
            self._frame(_DATA, 0, stream.id, data[at : at + self._max_frame])

    def _finish(self, stream: _Stream) -> None:
        if self._streams.pop(stream.id, None) is not None:
            block = self._headers_out.kept(_GRPC_OK)
            self._frame(_HEADERS, _END_HEADERS | _END_STREAM, stream.id, block)

    def _refuse(self, stream: _Stream, status: Status, message: str) -> None:
        if self._streams.pop(stream.id, None) is None:
            return
        block = b"" if stream.headers_sent else _STATUS_200 + self._headers_out.kept(_CONTENT_TYPE)
        block += literal(b"grpc-status", str(status.value).encode())
        explanation = quote(message[:_LONGEST_EXPLANATION], safe=_EXPLAINABLE).encode()
        block += literal(b"grpc-message", explanation)
        self._frame(_HEADERS, _END_HEADERS | _END_STREAM, stream.id, block)

    # Writing

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._held += size
        self._out.append(_FRAME_HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream_id))
        self._out.append(payload)

    def _flush(self) -> None:
        """Write what there is: at once, or in a rush together with what follows in a moment."""
        if not self._out:
            return
        rush = len(self._streams) >= _MANY and self._held < _MOST_HELD
        wait_s = self._written_at + _RUSH_S - time.monotonic() if rush else 0.0
        if wait_s <= 0:
            self._write()
        elif not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_later(wait_s, self._write)

    def _write(self) -> None:
        self._gathering = False
        if not self._out:
            return  # something urgent took what this was to wait for
        self._written_at = time.monotonic()
        data = b"".join(self._out)
        self._out.clear()
        self._held = 0
        if not self._transport.is_closing():
            self._transport.write(data)

    def _wake(self) -> None:
        self._window_grew.set()
        self._window_grew = asyncio.Event()


_EXPLAINABLE = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


def _framed(message: bytes) -> bytes:
    return _MESSAGE_HEAD.pack(0, len(message)) + message


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise _Broken
    return payload[1 : len(payload) - payload[0]]
