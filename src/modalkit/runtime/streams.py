"""The pieces of a generator over HTTP: server-sent events, JSON lines, plain bytes, a WebSocket."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from starlette.types import Receive, Send

from ..errors import RequestError
from .answers import Answers, problem, respond
from .deadlines import close_pieces
from .departures import CallerLeftError, Departures
from .observe.outcomes import OUTCOME_OF_STREAM, outcome
from .request_bodies import Arguments, Bodies, UnfitError

__all__ = ["StreamAnswer", "stream_over_websocket"]

_log = logging.getLogger("modalkit")
_NOTHING = object()
_NORMAL, _UNFIT, _FAILED, _TRY_LATER = 1000, 1007, 1011, 1013
_REASON_BYTES = 123  # a close frame holds no more


class StreamAnswer:
    """Sends one generator's pieces as they come.

    Args:
        name: The method's name, for messages.
        answers: What makes bytes of a piece.
        accept: What the caller takes: ``application/x-ndjson`` for JSON lines; else they are events.
    """

    def __init__(self, name: str, answers: Answers, accept: bytes) -> None:
        self._name = name
        self._answers = answers
        self._frame: Callable[[bytes], bytes]
        self._end = b""
        if answers.media_type != b"application/json":
            self._media_type, self._frame = answers.media_type, _as_it_is
        elif b"application/x-ndjson" in accept:
            self._media_type, self._frame = b"application/x-ndjson", _line
        else:
            self._media_type, self._frame = b"text/event-stream; charset=utf-8", _event
            self._end = b"event: end\ndata:\n\n"

    async def send(self, pieces: AsyncIterator[Any], send: Send) -> None:
        """Send all of them; an error before the first is a status of its own."""
        try:
            first = await anext(pieces, _NOTHING)
            start = b"" if first is _NOTHING else self._frame(self._answers.encode(first))
        except RequestError as error:
            await respond(send, **problem(error))
            return
        except Exception:  # noqa: BLE001 - one bad request must not end the service
            await respond(send, **problem(self._failed(), HTTPStatus.INTERNAL_SERVER_ERROR))
            return
        headers = [(b"content-type", self._media_type), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": start, "more_body": True})
        try:
            await self._rest(pieces, send)
        finally:
            await close_pieces(pieces)

    async def _rest(self, pieces: AsyncIterator[Any], send: Send) -> None:
        encode, frame = self._answers.encode, self._frame
        try:
            async for piece in pieces:
                body = frame(encode(piece))
                await send({"type": "http.response.body", "body": body, "more_body": True})
        except RequestError as error:
            await self._break_off(error, str(error), send)
        except Exception as error:  # noqa: BLE001 - as above
            await self._break_off(error, self._failed(), send)
        else:
            await send({"type": "http.response.body", "body": self._end})

    def _failed(self) -> str:
        _log.exception("%s failed", self._name)
        return f"{self._name} failed; the service's log says why."

    async def _break_off(self, error: Exception, message: str, send: Send) -> None:
        """Say in a stream that has begun that it failed, and as what it ended to the door."""
        told = {"type": "http.response.body", OUTCOME_OF_STREAM: outcome(error)}
        if self._frame is _as_it_is:
            await send({**told, "more_body": True})
            raise ConnectionAbortedError(
                message
            )  # the server cuts it off: nothing else can be said
        await send({**told, "body": self._error(message)})

    def _error(self, message: str) -> bytes:
        told = json.dumps({"detail": message}).encode()
        return b"event: error\ndata: " + told + b"\n\n" if self._end else _line(told)


def _as_it_is(piece: bytes) -> bytes:
    return piece


def _line(piece: bytes) -> bytes:
    return piece + b"\n"


def _event(piece: bytes) -> bytes:
    return b"data: " + piece + b"\n\n"


# ── a WebSocket ─────────────────────────────────────────────────────────────────────────────────


async def stream_over_websocket(
    name: str,
    typed: tuple[Bodies, Answers],
    call: Callable[..., AsyncIterator[Any]],
    receive: Receive,
    send: Send,
) -> None:
    """Take one message as the request, send each piece as a message, and close.

    The code tells how it ended: 1000 whole, 1007 the request does not fit, 1011 it failed, 1013 too
    many wait; the reason says more.
    """
    bodies, answers = typed
    await receive()  # the connection
    await send({"type": "websocket.accept"})
    message = await receive()
    if message["type"] != "websocket.receive":
        return
    body = message.get("bytes") or (message.get("text") or "").encode()
    try:
        arguments: Arguments = bodies.arguments(body)
    except UnfitError as error:
        await _goodbye(send, _UNFIT, json.dumps(error.problems))
        return
    pieces = call(*arguments[0], **arguments[1])
    with suppress(CallerLeftError):
        sending = _send_messages(name, answers, pieces, send)
        await Departures().unless_left(receive, sending, at_once=True)


async def _send_messages(
    name: str, answers: Answers, pieces: AsyncIterator[Any], send: Send
) -> None:
    is_text = answers.media_type == b"application/json"
    code, reason = _NORMAL, ""
    try:
        async for piece in pieces:
            body = answers.encode(piece)
            content = {"text": body.decode()} if is_text else {"bytes": body}
            await send({"type": "websocket.send", **content})
    except RequestError as error:
        code = _TRY_LATER if error.status == HTTPStatus.TOO_MANY_REQUESTS else _FAILED
        reason = str(error)
    except Exception:  # noqa: BLE001 - as above
        _log.exception("%s failed", name)
        code, reason = _FAILED, f"{name} failed; the service's log says why."
    finally:
        await close_pieces(pieces)
    await _goodbye(send, code, reason)


async def _goodbye(send: Send, code: int, reason: str) -> None:
    short = reason.encode()[:_REASON_BYTES].decode("utf-8", "ignore")
    await send({"type": "websocket.close", "code": code, "reason": short})
