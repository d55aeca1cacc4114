"""A client's HTTP/1.1 connection up to the head of a request: what every server here begins with."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Iterable
from http import HTTPStatus

from typing_extensions import override

from .http1 import HEAD_LIMIT, HttpError, plain_answer
from .listener import IDLE_S, STALLED_S, Watched

__all__ = ["ClientConnection"]


class ClientConnection(asyncio.Protocol):
    """Collects what a client sends, cuts heads from it, and lets go of who does not go on.

    Args:
        connections: Holds this connection while it is open.

    Attributes:
        buffer: What has come and was not read yet.
        last_byte: When a request last got further.
    """

    transport: asyncio.Transport

    def __init__(self, connections: set[Watched]) -> None:
        self.buffer = b""
        self.last_byte = time.monotonic()
        self._connections = connections

    @property
    @abstractmethod
    def under_way(self) -> bool:
        """Whether a request has begun that is not answered yet."""

    @property
    @abstractmethod
    def is_answering(self) -> bool:
        """Whether it is not the client whom the connection waits for."""

    @abstractmethod
    def advance(self) -> None:
        """Go as far as the bytes at hand allow."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream server makes
        self.transport = transport
        self._connections.add(self)

    @override
    def data_received(self, data: bytes) -> None:
        if not self.buffer:
            self.last_byte = time.monotonic()
        self.buffer += data
        self.advance()

    @override
    def eof_received(self) -> bool | None:
        if not self.under_way and self.buffer:
            self.refuse(HTTPStatus.BAD_REQUEST, "The connection ended within a request.")
        return None

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)

    def check(self, now: float) -> None:
        """Let go of a client that does not go on."""
        if self.is_answering:
            return
        quiet = now - self.last_byte
        within_request = self.under_way or bool(self.buffer)
        if within_request and quiet > STALLED_S:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "The request did not come in time.")
        elif not within_request and quiet > IDLE_S:
            self.transport.close()

    def next_head(self) -> bytes:
        """Take a request's head, its final empty line included; nothing until it is complete.

        Raises:
            HttpError: It is too long.
        """
        end = self.buffer.find(b"\r\n\r\n")
        if end > HEAD_LIMIT or (end < 0 and len(self.buffer) > HEAD_LIMIT):
            msg = f"A request's head has at most {HEAD_LIMIT // 1024} KiB."
            raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, msg)
        if end < 0:
            return b""
        raw, self.buffer = self.buffer[: end + 4], self.buffer[end + 4 :]
        return raw

    def refuse(
        self, status: HTTPStatus, text: str, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Answer a request that goes no further, and close."""
        self.buffer = b""
        self.transport.write(plain_answer(status, text, [*headers]))
        self.transport.close()
