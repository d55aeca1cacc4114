"""One request from its arrival to its last byte: its headers read once, and its line in the log."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Protocol

from starlette.types import Message, Receive, Scope, Send

from ...declare.exposure import AccessLog
from ..observe.outcomes import OUTCOME_OF_STREAM
from ..observe.request_ids import new_request_id, set_request_id

__all__ = ["PROBES", "SOCKET_FAILED", "Visit", "VisitObserver"]

_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_PROMPT_BYTES = 16_384
_BRINGING = frozenset({"http.request", "websocket.receive"})
_LEAVING = ("http.disconnect", "websocket.disconnect")
_UNKNOWN = -1  # bytes of an answer that nobody counts
# Read here, and not for whom the request goes on to: credentials, and what CORS has answered.
_KEPT_HERE = frozenset(
    {b"authorization", b"x-api-key", b"modal-key", b"modal-secret", b"origin", b"x-request-id"}
)
# Asked by machines every few seconds: neither counted nor traced, nor logged where they succeed.
PROBES = frozenset({"/health", "/metrics"})
SOCKET_FAILED = 1011
"""The code of a WebSocket that the service could not go on with."""


class Visit:
    """One HTTP request, or one WebSocket from its handshake to its close.

    Args:
        scope: ASGI's description of it.

    Attributes:
        request_id: The client's ``x-request-id``, or a new one where that is missing or not plain.
        credentials: What it sent as its key, as it stood in ``authorization`` or ``x-api-key``.
        length: Bytes its body announces; ``None`` where it does not say.
        key: Fingerprint of the key it came with, once that is known.
        started: Whether an answer is on its way.
        too_large: Whether its body was longer than allowed, found while reading it.
        in_pieces: Whether its answer comes in several.
        path: What it asks for, below the endpoint's own path.
        status: The answer's status; 0 while there is none, and where the client left before. A
            WebSocket's is the code it was closed with, or 403 where it was never opened.
        outcome: As what a stream ended that had begun and broke off; else None.
        took_s: Seconds from its arrival to its end, once it has ended.
        first_s: Seconds from its arrival to the first byte of the answer.
        trace_id: The trace it belongs to, where there is one.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._arrived = time.perf_counter()
        self._first = 0.0
        self.status = 0
        self.took_s = self.first_s = 0.0
        self.trace_id: str | None = None
        self.outcome: str | None = None
        self.path: str = scope["path"]
        self._received = self._sent = 0
        self._prompt = b""
        self._forwarded: list[tuple[bytes, bytes]] = []
        self.request_id = b""
        self.credentials: tuple[bytes, bytes] = (b"", b"")
        self.length: int | None = None
        self.key: str | None = None
        self.started = self.too_large = self.in_pieces = False
        self._read_headers(scope["headers"])

    def _read_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        found: dict[bytes, bytes] = {}
        in_chunks = False
        for name, value in headers:
            if name in _KEPT_HERE:
                found.setdefault(name, value)
            else:
                self._forwarded.append((name, value))
                if name == b"content-length" and value.isdigit():
                    self.length = int(value)
                elif name == b"transfer-encoding":
                    in_chunks = True
        if in_chunks:  # they are what counts then, whatever else was announced
            self.length = None
        given = found.get(b"x-request-id", b"")
        self.request_id = given if _ID.fullmatch(given) else new_request_id()
        self._forwarded.append((b"x-request-id", self.request_id))
        set_request_id(self.request_id)
        self.credentials = (found.get(b"authorization", b""), found.get(b"x-api-key", b""))

    @property
    def method(self) -> str:
        """Its HTTP method; ``WEBSOCKET`` where it is one."""
        method: str = self._scope.get("method", "WEBSOCKET")
        return method

    @property
    def is_socket(self) -> bool:
        """Whether it is a WebSocket."""
        return bool(self._scope["type"] == "websocket")

    @property
    def failed(self) -> bool:
        """Whether it ended by a failure of the service, not of its caller."""
        if self.is_socket:
            return self.status == SOCKET_FAILED
        is_broken = self.outcome is not None and self.outcome != "refused"
        return is_broken or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def headers(self) -> dict[str, str]:
        """What goes on to the app behind, by name."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self._forwarded}

    def forward(self, name: bytes, value: bytes) -> None:
        """Put a header on what goes on, in place of the client's own of that name."""
        self._forwarded = [pair for pair in self._forwarded if pair[0] != name]
        self._forwarded.append((name, value))

    def end(self) -> None:
        """Note that the answer has ended, or the client has left."""
        now = time.perf_counter()
        self.took_s = now - self._arrived
        self.first_s = (self._first or now) - self._arrived

    def onward(self, path: str, key: str | None) -> Scope:
        """The scope for the app behind: another path, no credentials but ``key``."""
        headers = self._forwarded
        if key is not None:
            headers = [*headers, (b"authorization", b"Bearer " + key.encode())]
        scope: Scope = {**self._scope, "headers": headers}
        if path != scope["path"]:
            scope.update(path=path, raw_path=path.encode())
        return scope

    def watching(self, send: Send, *, counting: bool) -> Send:
        """``send`` with the request's id in the answer, and what the log says of it.

        Args:
            send: The server's.
            counting: Whether to look at every piece, for its bytes and as what a stream ended. Otherwise only
                the head of an answer and its first piece are looked at; from then on what is returned is
                the server's own ``send``, held in a C object, and no Python of ours runs for the pieces
                of a stream.
        """
        if self.is_socket:
            return self._watching_socket(send)

        def watched(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.body":
                if not self._first:
                    self._first = time.perf_counter()
                    self.in_pieces = message.get("more_body", False)
                    if not counting:
                        sending.__setstate__((send, (), {}, None))  # type: ignore[attr-defined]  # every partial has it, its stub does not
                if counting:
                    self._sent += len(message.get("body", b""))
                    self.outcome = message.get(OUTCOME_OF_STREAM)
            elif message["type"] == "http.response.start":
                self._begin(message, counting=counting)
            return send(message)

        # Whoever answers keeps what it was given, so that is what has to turn into `send`: a partial
        # takes another function in place, as it does when it is unpickled.
        sending = partial(watched)
        return sending

    def _begin(self, message: Message, *, counting: bool) -> None:
        """Look at the head of the answer, and put the request's id into it."""
        self.started, self.status = True, message["status"]
        headers = message.get("headers", ())
        others = [pair for pair in headers if pair[0] != b"x-request-id"]
        message["headers"] = [*others, (b"x-request-id", self.request_id)]
        if not counting:
            told = next((value for name, value in headers if name == b"content-length"), b"")
            self._sent = int(told) if told.isdigit() else _UNKNOWN

    def _watching_socket(self, send: Send) -> Send:
        def watched(message: Message) -> Awaitable[None]:
            kind = message["type"]
            if kind == "websocket.send":
                if not self._sent:
                    self._first, self.in_pieces = time.perf_counter(), True
                self._sent += len(_content(message))
            elif kind == "websocket.accept":
                self.started = True
                told = [*message.get("headers", ()), (b"x-request-id", self.request_id)]
                message["headers"] = told
            elif kind == "websocket.close":  # before it was opened it is refused, by this status
                self.status = message.get("code", 1000) if self.started else HTTPStatus.FORBIDDEN
            return send(message)

        return watched

    def reading(self, receive: Receive, limit: int, log: AccessLog) -> Receive:
        """``receive`` that ends the request once its body is longer than ``limit`` bytes."""
        prompts = log == "prompts"
        announced = self.length is not None and not self.is_socket  # the server holds it to that
        if announced and not prompts:
            return receive

        async def read() -> Message:
            message = await receive()
            if message["type"] in _BRINGING:
                body = _content(message)
                self._received += len(body)
                if prompts and len(self._prompt) < _PROMPT_BYTES:
                    self._prompt = (self._prompt + body)[:_PROMPT_BYTES]
                if self._received > limit:
                    self.too_large = True
                    return {"type": _LEAVING[self.is_socket], "code": 1009}
            return message

        return read

    def write(self, log: AccessLog) -> None:
        """Write the line of a request that has ended to standard error."""
        path: str = self._scope["path"]
        if self.path in PROBES and self.status == HTTPStatus.OK:
            return
        line: dict[str, object] = {
            "log": "modalkit.access",
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "id": self.request_id.decode("ascii"),
            "method": self.method,
            "path": path,
            "status": self.status or None,  # none: the client left before an answer
            "first_ms": round(1000 * self.first_s, 1),
            "ms": round(1000 * self.took_s, 1),
            "bytes_in": self._received or self.length or 0,
            "bytes_out": None if self._sent == _UNKNOWN else self._sent,  # a stream past the door
            "key": self.key,
        }
        if self.outcome is not None:
            line["outcome"] = self.outcome
        if self.trace_id is not None:
            line["trace"] = self.trace_id
        if log == "prompts":
            line["body"] = self._prompt.decode("utf-8", "replace")
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()


def _content(message: Message) -> bytes:
    """What a message brings: a piece of a body, or a WebSocket's bytes or text."""
    content = message.get("body") or message.get("bytes") or message.get("text") or b""
    return content.encode() if isinstance(content, str) else content


class VisitObserver(Protocol):
    """Who is told of every request that strangers make, but for probes."""

    def arrived(self, visit: Visit, /) -> None:
        """A request has come; its headers may still be changed."""

    def left(self, visit: Visit, /) -> None:
        """It has ended: its path, status and times are known."""
