"""Writes that come together leave together: a system call each is most of what a small piece costs.

uvicorn writes the head of an answer, its body and every piece of a stream one by one, and uvloop asks the
system for each at once. What is written within one turn of the event loop leaves in one call here. A generator
that computes between its pieces, and keeps the loop to itself meanwhile, has each of them leave when it is
written, but one that came within a millisecond of the one before: that leaves with the next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from uvicorn.protocols.http.auto import AutoHTTPProtocol

__all__ = ["GatheredWrites", "GatheringProtocol"]

_MOMENT_S = 0.001
_MOST_BYTES = 65_536  # what a transport holds before it asks its protocol to pause
_HEAD = b"HTTP/"


class GatheredWrites:
    """The transport of one HTTP connection, whose writes leave together where they come together.

    The head of an answer leaves with what is written next. That leaves at once; what comes within a
    millisecond of it leaves when the event loop turns, and at the latest with the first that comes later.

    Args:
        transport: The connection's own.
        loop: Its event loop.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._call_soon = loop.call_soon
        self._clock = clock
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._left_at = 0.0
        self._leaves_soon = False
        # What an HTTP protocol asks of its transport besides.
        self.is_closing, self.get_extra_info = transport.is_closing, transport.get_extra_info
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading

    def write(self, data: bytes) -> None:
        """Let bytes leave, now or with those that follow at once."""
        self._waiting.append(data)
        self._bytes += len(data)
        if data[: len(_HEAD)] == _HEAD:  # of any kind of bytes
            self._left_at = 0.0  # so that it does not keep the answer's first piece waiting
        elif self._bytes > _MOST_BYTES or self._clock() - self._left_at >= _MOMENT_S:
            self._leave()
            return
        if not self._leaves_soon:
            self._leaves_soon = True
            self._call_soon(self._turned)

    def close(self) -> None:
        """Close the connection once everything has left."""
        self._leave()
        self._transport.close()

    def ungathered(self) -> asyncio.Transport:
        """Let everything leave, and return the connection's own transport."""
        self._leave()
        return self._transport

    def _turned(self) -> None:
        self._leaves_soon = False
        self._leave()

    def _leave(self) -> None:
        leaving, self._waiting, self._bytes = self._waiting, [], 0
        if not leaving or self.is_closing():  # its other end has left
            return
        self._left_at = self._clock()
        # Not `writelines`: asyncio's asks no one to pause before Python 3.12.9 (CVE-2024-12254).
        self._transport.write(leaving[0] if len(leaving) == 1 else b"".join(leaving))


class GatheringProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # one of two, by what is installed
    """uvicorn's HTTP protocol with gathered writes; a WebSocket gets the connection's own transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to serve a connection."""
        self._writes = GatheredWrites(transport, self.loop)
        super().connection_made(self._writes)

    def eof_received(self) -> None:
        """Let everything leave before the connection is closed: only its other end sends no more."""
        self._writes.ungathered()
        super().eof_received()

    def handle_websocket_upgrade(self, *event: object) -> None:
        """Hand the connection over to a WebSocket."""
        self.transport = self._writes.ungathered()
        super().handle_websocket_upgrade(*event)
