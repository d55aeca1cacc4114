"""What an endpoint answers, read while it comes: when which token came, how many, and what went wrong."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Answer"]

_OK = 200
_REDIRECT = 300
_DATA, _EVENT = b"data:", b"event:"
_MOST_MESSAGE = 300


class Answer:
    """One answer.

    Attributes:
        intended: When its request was to be sent, by ``time.perf_counter``.
        sent: When it was.
        ended: When it was whole, or had failed.
        stamps: When each piece with a token came; of an answer that is no stream, when its body did.
        status: The HTTP status; 0 before there is one.
        headers: Its headers, in lower case.
        body: An answer that is no stream, or what an error said.
        tokens_in: Prompt tokens as the server counts them; 0 if it does not say.
        tokens_out: Answer tokens as the server counts them, else the pieces that came.
        failure: The class of what went wrong; empty if nothing did.
        message: What was said about it.
        cut_off: Ends the exchange while it is under way.
    """

    __slots__ = (
        "_is_stream", "_kind", "_line", "body", "cut_off", "ended", "failure", "headers", "intended",
        "message", "sent", "stamps", "status", "streams", "tokens_in", "tokens_out",
    )  # fmt: skip

    def __init__(self, intended: float) -> None:
        self.intended = intended
        self.sent = intended
        self.ended = 0.0
        self.stamps = array("d")
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.body = b""
        self.tokens_in = 0
        self.tokens_out = 0
        self.failure = ""
        self.message = ""
        self.cut_off: Callable[[], None] | None = None
        self.streams = False
        self._is_stream = False
        self._kind = self._line = b""

    @property
    def never_arrived(self) -> bool:
        """Whether it failed before a byte of an answer came."""
        return self.failure == "cut off" and not self.status

    def fail(self, failure: str, message: str) -> None:
        """Note what went wrong; the first thing counts."""
        if not self.failure:
            self.failure, self.message = failure, message[:_MOST_MESSAGE]

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """The head has come."""
        self.status, self.headers = status, headers
        is_events = headers.get("content-type", "").startswith("text/event-stream")
        self._is_stream = self.streams = is_events and status == _OK

    def feed(self, data: bytes, at: float) -> None:
        """Take bytes of the body, with the moment they came."""
        if not self._is_stream:
            if not self.body:
                self.stamps.append(at)
            self.body += data
            return
        data = self._line + data
        *lines, self._line = data.split(b"\n")
        for line in lines:
            if line.startswith(_DATA):
                self._event(line[len(_DATA) :].strip(), at)
            elif line.startswith(_EVENT):
                self._kind = line[len(_EVENT) :].strip()
            elif not line.strip():
                self._kind = b""

    def end(self, at: float) -> None:
        """Nothing more comes."""
        self.ended = at
        if not self.status and not self.failure:
            self.fail("cut off", "there was no answer")
        elif self.status and not _OK <= self.status < _REDIRECT:
            said = self.body.decode("utf-8", "replace").strip()
            self.failure, self.message = f"http {self.status}", said[:_MOST_MESSAGE]
        elif not self.failure and self.streams and not self.stamps:
            self.fail("no tokens", "the stream ended without a token")
        elif not self.failure and not self.streams:
            self._read_usage(self._json())
        if not self.tokens_out and self.streams:
            self.tokens_out = len(self.stamps)

    def _event(self, data: bytes, at: float) -> None:
        """One event: a token, figures, an error or the end."""
        if data == b"[DONE]" or self._kind == b"end":
            return
        if self._kind == b"error":  # so a typed route says that it failed after its first piece
            self.fail("stream error", data.decode("utf-8", "replace"))
            return
        try:
            chunk = json.loads(data)
        except ValueError:
            self.stamps.append(at)  # a stream of text that is no JSON
            return
        if not isinstance(chunk, dict) or "choices" not in chunk:
            self._other_event(chunk, at)
            return
        for choice in chunk["choices"]:
            if _has_token(choice) or (self.stamps and not choice.get("finish_reason")):
                self.stamps.append(at)
        self._read_usage(chunk)

    def _other_event(self, chunk: object, at: float) -> None:
        if isinstance(chunk, dict) and chunk.get("error"):
            self.fail("stream error", json.dumps(chunk["error"]))
        elif not (isinstance(chunk, dict) and chunk.get("usage")):
            self.stamps.append(at)
        self._read_usage(chunk)

    def _json(self) -> object:
        try:
            return json.loads(self.body) if self.body else None
        except ValueError:
            return None

    def _read_usage(self, chunk: object) -> None:
        usage = chunk.get("usage") if isinstance(chunk, dict) else None
        if isinstance(usage, dict):
            self.tokens_in = _whole(usage.get("prompt_tokens"))
            self.tokens_out = _whole(usage.get("completion_tokens"))


def _has_token(choice: dict[str, Any]) -> bool:
    """Whether a piece of an answer brings a token, before any other has."""
    delta = choice.get("delta")
    if isinstance(delta, dict):  # a chat's first piece names who speaks, and no more
        return any(
            delta.get(name) for name in ("content", "reasoning_content", "reasoning", "tool_calls")
        )
    # A completion has nobody to name: a token that shows nothing yet, half a character, has no text.
    return bool(choice.get("text")) or ("text" in choice and not choice.get("finish_reason"))


def _whole(number: object) -> int:
    return number if isinstance(number, int) else 0
