"""The gRPC server underneath: header blocks, frames, flow control, refusals, abandoned calls."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable

import pytest
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from modalkit.local.protocol import api
from modalkit.local.wire.header_blocks import HeaderBlockError, HeaderReader, HeaderWriter, literal
from modalkit.local.wire.http2 import Connection

names = st.sampled_from([b":path", b":method", b"x-modal-timestamp", b"te", b"x" * 200])
values = st.one_of(st.binary(max_size=20), st.sampled_from([b"POST", b"trailers", b"v" * 5000]))
headers = st.dictionaries(names, values, min_size=1, max_size=6)


@given(st.lists(headers, max_size=30), st.booleans())
def test_header_blocks_are_read_as_hpack_wrote_them(blocks, huffman):
    """Whatever the reference encoder writes on a connection is read back, block by block."""
    encoder, reader = Encoder(), HeaderReader()
    for block in blocks:
        assert reader.read(encoder.encode(list(block.items()), huffman=huffman)) == block


@given(st.lists(headers, max_size=10), st.integers(0, 4096))
def test_a_smaller_header_table_is_followed(blocks, size):
    """The other side may shrink the table at any time."""
    encoder, reader = Encoder(), HeaderReader()
    for number, block in enumerate(blocks):
        if number == 1:
            encoder.header_table_size = size
        assert reader.read(encoder.encode(list(block.items()))) == block


@given(st.lists(st.sampled_from([literal(b"a", b"1"), literal(b"b", b"2")]), max_size=20))
def test_header_blocks_are_written_as_hpack_reads_them(fields):
    """A field is spelled out once and referred to afterwards."""
    writer, decoder = HeaderWriter(), Decoder()
    expected = {literal(b"a", b"1"): ("a", "1"), literal(b"b", b"2"): ("b", "2")}
    for field in fields:
        assert [tuple(pair) for pair in decoder.decode(writer.kept(field))] == [expected[field]]


@given(st.integers(0, 100_000))
def test_long_literals(length):
    """A value of any length survives."""
    block = literal(b"grpc-message", b"x" * length)
    (pair,) = Decoder(max_header_list_size=200_000).decode(block)
    assert pair == ("grpc-message", "x" * length)


@given(st.binary(max_size=60))
def test_a_broken_header_block_is_an_error_of_its_own(block):
    """Garbage is either read or refused; nothing else happens."""
    try:
        HeaderReader().read(block)
    except HeaderBlockError:
        return


def _echo(_headers, body: bytes) -> bytes:
    return body


async def _later(body: bytes) -> bytes:
    await asyncio.sleep(0)
    return body


async def _thrice(body: bytes):
    for _ in range(3):
        yield body


def _refuses(_headers, _body):
    raise GRPCError(Status.NOT_FOUND, "Not here: 100 % sure, ünd „quoted“.\nSecond line.")


def _served(answer, use: Callable, config: Configuration | None = None):
    """Run ``use(channel)`` against a server that gives one answer to everything."""

    async def run():
        loop = asyncio.get_running_loop()
        connections: set[Connection] = set()
        server = await loop.create_server(lambda: Connection(answer, connections), "127.0.0.1", 0)
        channel = Channel("127.0.0.1", server.sockets[0].getsockname()[1], config=config)
        try:
            return await asyncio.wait_for(use(channel), 60)
        finally:
            channel.close()
            server.close()
            for connection in list(connections):
                connection.close()

    return asyncio.run(run())


def _unary(channel: Channel) -> UnaryUnaryMethod:
    return UnaryUnaryMethod(channel, "/t/Echo", api.FunctionInput, api.FunctionInput)


@pytest.mark.parametrize("answer", [_echo, lambda _headers, body: _later(body)])
def test_unary_calls_now_and_later(answer):
    """A reply that is there and one that comes later arrive alike, many at a time."""

    async def use(channel):
        messages = [api.FunctionInput(args=b"%d" % number) for number in range(200)]
        return messages, await asyncio.gather(*(_unary(channel)(message) for message in messages))

    sent, received = _served(answer, use)
    assert sent == received


@pytest.mark.parametrize("size", [0, 1, 16_384, 65_530, 65_536, 3_000_000])
def test_messages_of_every_size(size):
    """Windows and frames of any number are filled and refilled, both ways."""
    message = api.FunctionInput(args=b"x" * size)
    small_windows = Configuration(
        http2_connection_window_size=65_535, http2_stream_window_size=65_535
    )
    for config in (None, small_windows):
        assert _served(_echo, lambda channel: _unary(channel)(message), config) == message


def test_streams():
    """A stream of replies arrives in order and ends."""
    message = api.FunctionInput(args=b"x" * 100_000)

    async def use(channel):
        method = UnaryStreamMethod(channel, "/t/S", api.FunctionInput, api.FunctionInput)
        return await method(message)

    assert _served(lambda _headers, body: _thrice(body), use) == [message] * 3


@pytest.mark.parametrize("window", [65_535, 150_000, 1_000_000])
def test_long_streams_through_small_windows(window):
    """Messages that fill a window halfway arrive whole, once and in order, however long the stream."""
    messages = [api.FunctionInput(args=bytes([number]) * 100_000) for number in range(200)]

    async def replies():
        for message in messages:
            yield message.SerializeToString()

    async def use(channel):
        method = UnaryStreamMethod(channel, "/t/S", api.FunctionInput, api.FunctionInput)
        return await method(api.FunctionInput())

    config = Configuration(http2_connection_window_size=window, http2_stream_window_size=window)
    assert _served(lambda _headers, _body: replies(), use, config) == messages


def test_streams_beside_each_other_and_calls_between_them():
    """With many streams open, what each yields and what is called meanwhile arrives, large or small."""
    small, large = (api.FunctionInput(args=b"x" * size) for size in (10, 300_000))

    async def trickle(body: bytes):
        for _ in range(20):
            await asyncio.sleep(0)
            yield body

    def answer(headers, body: bytes):
        return trickle(body) if headers[b":path"] == b"/t/S" else _later(body)

    async def use(channel):
        method = UnaryStreamMethod(channel, "/t/S", api.FunctionInput, api.FunctionInput)
        streams = [method(large if number % 4 == 0 else small) for number in range(24)]
        return await asyncio.gather(*streams, *(_unary(channel)(small) for _ in range(50)))

    *streams, last = _served(answer, use)[:25]
    assert [len(replies) for replies in streams] == [20] * 24
    assert all(
        set(map(len, (one.args for one in replies))) in ({10}, {300_000}) for replies in streams
    )
    assert last == small


def test_a_refusal_keeps_its_status_and_its_words():
    """Any character of an explanation comes through."""

    async def use(channel):
        with pytest.raises(GRPCError) as caught:
            await _unary(channel)(api.FunctionInput())
        return caught.value

    error = _served(_refuses, use)
    assert error.status is Status.NOT_FOUND
    assert error.message == "Not here: 100 % sure, ünd „quoted“.\nSecond line."


def test_a_call_that_is_given_up_is_cancelled():
    """When the caller stops waiting, the work for it stops, and the connection goes on."""
    cancelled = []

    async def forever() -> bytes:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return b""

    def answer(_headers, body: bytes):
        return body or forever()

    async def use(channel):
        with pytest.raises(asyncio.TimeoutError):
            await _unary(channel)(api.FunctionInput(), timeout=0.1)
        return await _unary(channel)(api.FunctionInput(args=b"still here"))

    assert _served(answer, use).args == b"still here"
    assert cancelled == [True]


def test_something_else_on_the_port_is_hung_up_on():
    """A browser's HTTP/1 request ends the connection instead of hanging."""

    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(_echo, set()), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        server.close()
        return received

    assert asyncio.run(run())


class RecordingTransport(asyncio.Transport):
    """A stand-in for a socket: it remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False


class HeldTimers(asyncio.SelectorEventLoop):
    """An event loop whose timers go off when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Callable[[], object]] = []

    def call_later(self, delay, callback, *args, context=None):
        self.held.append(lambda: callback(*args))
        return super().call_later(3600, callback, *args, context=context)


def _opened(stream_ids) -> bytes:
    """Return the frames of empty requests."""
    block, frames = literal(b":path", b"/t/Echo"), b""
    for stream_id in stream_ids:
        frames += struct.pack(">HBBBL", 0, len(block), 1, 4, stream_id) + block
        frames += struct.pack(">HBBBL", 0, 5, 0, 1, stream_id) + bytes(5)
    return frames


async def _answer_one(answers: list[asyncio.Future[bytes]]) -> None:
    answers.pop(0).set_result(b"")
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_timer_with_nothing_left_to_write_holds_nothing_up():
    """What a rush gathered may go out before its timer: that one is no write which others wait after."""
    loop, transport, answers = HeldTimers(), RecordingTransport(), []

    def answer(_headers, _body):
        answers.append(loop.create_future())
        return answers[-1]

    connection = Connection(answer, set())

    async def rush_and_end() -> None:
        connection.connection_made(transport)
        connection.data_received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _opened(range(1, 81, 2)))
        while not loop.held:
            await _answer_one(answers)  # right after a write: it is to wait for a timer
        while len(answers) > 1:
            await _answer_one(answers)  # few are left: all goes out at once

    async def rush_again() -> int:
        loop.held.pop(0)()
        connection.data_received(_opened(range(81, 121, 2)))
        before = len(transport.written)
        await _answer_one(answers)
        return len(transport.written) - before

    loop.run_until_complete(rush_and_end())
    time.sleep(0.01)  # the last write is long ago
    assert loop.run_until_complete(rush_again()) == 1
    connection.connection_lost(None)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
