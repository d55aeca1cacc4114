"""One HTTP request's function call, and the client that waits for its answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from ..calls.calls import Calls, FunctionCall, Input
from ..protocol import api
from ..wire.exchange import Exchange
from .streams import RequestStream, ResponseStream

__all__ = ["RESULT_PARAMETER", "WebCall", "cancel_later"]

RESULT_PARAMETER = "__modal_function_call_id"
"""In the query of a URL at which a client goes on waiting."""

_PIECE = 1024 * 1024  # below what a container would fetch as a blob
_RESULT_KEPT_S = 3600.0
_DISCONNECT_GRACE_S = 1.0
_EARLIER = re.compile(rb"[?&]" + RESULT_PARAMETER.encode() + rb"=[^&]*")
_ORIGIN = re.compile(rb"^[A-Za-z]+://[^/?]*")


class WebCall:
    """One HTTP request's function call.

    Args:
        call: The call, just started.
        blob: Returns where a large message's bytes are.
        redirected: The calls whose clients were told to wait elsewhere, by id.
    """

    def __init__(
        self,
        call: FunctionCall,
        entry: Input,
        calls: Calls,
        blob: Callable[[str], Path],
        redirected: dict[str, WebCall],
    ) -> None:
        self._call = call
        self._entry = entry
        self._calls = calls
        self._redirected = redirected
        self._in = RequestStream()
        self._out = ResponseStream(blob, [(b"modal-function-call-id", call.id.encode())])
        call.data_in, call.data_out = self._in, self._out
        call.on_finished = self._finished
        self._exchange: Exchange | None = None
        self._patience_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, exchange: Exchange, patience_s: float) -> None:
        """Send the request on; after ``patience_s`` without a response, redirect the client."""
        self._patience_s = patience_s
        if exchange.complete:
            self._send(exchange.take(), more=False)
        else:
            self._task = asyncio.create_task(self._feed(exchange))
        self.attach(exchange)

    def attach(self, exchange: Exchange) -> None:
        """Answer to this exchange from now on; one that waited before is cut."""
        if self._exchange is not None:
            self._exchange.on_gone = None
            self._exchange.abort()
        self._stop_clock()
        self._exchange, exchange.on_gone = exchange, self._left
        self._out.attach(exchange)
        if exchange.gone or not self._call.unfinished:
            self._finished(self._call)
        elif exchange.complete:
            self._start_clock(self._patience_s, self._redirect)

    def give_up(self) -> None:
        """Nobody came back for the response."""
        self._redirected.pop(self._call.id, None)
        self._stop_clock()
        self._out.close()
        self._calls.forget_later(self._call)
        cancel_later(self._entry, 0.0)

    def _send(self, body: bytes, *, more: bool) -> None:
        self._in.add(api.Asgi(http_request=api.Asgi.HttpRequest(body=body, more_body=more)))

    async def _feed(self, exchange: Exchange) -> None:
        """Send the body on as it comes; Modal's container code waits 5 s for the first of it."""
        body = exchange.take()
        if not body:
            self._send(b"", more=True)
        while not exchange.gone:
            for start in range(0, len(body), _PIECE):
                self._send(body[start : start + _PIECE], more=True)
            await self._in.room()
            if exchange.complete and not (body := exchange.take()):
                self._send(b"", more=False)
                self._start_clock(self._patience_s, self._redirect)
                return
            body = body if exchange.complete else await exchange.receive()

    def _redirect(self) -> None:
        """Tell a client that has waited long to go on waiting at the result's URL."""
        exchange = self._exchange
        if exchange is None or exchange.gone or exchange.started:
            return
        self._exchange, exchange.on_gone = None, None
        self._out.attach(None)
        self._redirected[self._call.id] = self
        self._start_clock(_RESULT_KEPT_S, self.give_up)
        location = _result_url(exchange, self._call.id)
        exchange.answer(HTTPStatus.SEE_OTHER, "", [(b"location", location)])

    def _left(self) -> None:
        """The client went away: the app hears of it, and has a moment before it is cancelled."""
        self._exchange = None
        self._redirected.pop(self._call.id, None)
        self._stop_clock()
        self._in.add(api.Asgi(http_disconnect=api.Asgi.HttpDisconnect()))
        cancel_later(self._entry, _DISCONNECT_GRACE_S)

    def _finished(self, call: FunctionCall) -> None:
        """The container is done with the call, or the client has its answer."""
        if call.id in self._redirected and self._exchange is None:
            return  # the answer is kept for whoever comes back
        self._stop_clock()
        self._redirected.pop(call.id, None)
        exchange = self._exchange
        if exchange is not None and not exchange.gone:
            self._task = asyncio.create_task(self._explain(exchange))
        elif self._task is not None:
            self._task.cancel()
        self._calls.forget_later(call)

    async def _explain(self, exchange: Exchange) -> None:
        """Say why there is no response; a client that has half of one is cut off."""
        exchange.on_gone = None
        if exchange.started:
            exchange.abort()
            return
        result = (await self._call.single_output()).result
        if result.status == api.GenericResult.GENERIC_STATUS_TERMINATED:
            text = f"modal-http: the function call was terminated: {result.exception}"
        else:
            reason = result.exception or "the app sent no response"
            text = f"modal-http: internal error: {reason}"
        exchange.answer(HTTPStatus.INTERNAL_SERVER_ERROR, text)

    def _start_clock(self, delay_s: float, then: Callable[[], None]) -> None:
        self._stop_clock()
        self._timer = asyncio.get_running_loop().call_later(delay_s, then)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def cancel_later(entry: Input, grace_s: float) -> None:
    """Cancel an input whose client is gone: at once where it waits, else if it does not end soon."""
    if entry.done:
        return
    if entry.container is None:
        entry.call.function.pool.cancel(entry, kill_container=False)
    else:
        asyncio.get_running_loop().call_later(grace_s, _cancel, entry)


def _cancel(entry: Input) -> None:
    # Never by ending the container: its other requests have clients that still wait.
    if not entry.done and entry.container is not None:
        entry.container.cancel_input(entry.id)


def _result_url(exchange: Exchange, call_id: str) -> bytes:
    """Return where a request's answer can be waited for: its own URL with the call's id."""
    host = exchange.head.get(b"host") or "{}:{}".format(*exchange.server).encode()
    path = _ORIGIN.sub(b"", exchange.head.target)
    path, _, query = _EARLIER.sub(b"", path).partition(b"?")
    mark = f"{RESULT_PARAMETER}={call_id}".encode()
    return b"http://" + host + (path or b"/") + b"?" + (query + b"&" if query else b"") + mark
