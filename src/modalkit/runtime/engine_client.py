"""Talk to the engine of this container over its OpenAI API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from http import HTTPStatus

import aiohttp
from pydantic import JsonValue

from ..errors import EngineError, EngineRequestError
from .observe.tracing import Tracing
from .process import EngineProcess

__all__ = ["EngineClient"]

Body = Mapping[str, object]
_DEATH_S = 1.0
# vLLM and SGLang close a connection that was idle for 5 s (uvicorn's own default). One that is about
# to be closed must not be given a request: it would end unanswered, and a generation is not repeated.
_REUSED_FOR_S = 3.0
_NO_LIMIT = aiohttp.ClientTimeout(total=None, sock_connect=10)  # Modal's own timeout ends a call


class EngineClient:
    """An HTTP client of one engine process; every method is one request.

    Raises:
        EngineExitedError: The process has ended.
        EngineRequestError: It answered with an error.
    """

    def __init__(
        self,
        process: EngineProcess,
        base_url: str,
        served_name: str,
        headers: Mapping[str, str] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._process = process
        self._served_name = served_name
        # The engine is on loopback: a connection costs nothing, and no limit queues requests here.
        self.session = aiohttp.ClientSession(
            base_url,
            timeout=_NO_LIMIT,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_REUSED_FOR_S),
            headers={"Accept-Encoding": "identity", **(headers or {})},
        )

    async def post(self, path: str, body: Body) -> dict[str, JsonValue]:
        """Post a request and return the whole answer."""
        return _json_object(path, await self.post_raw(path, body))

    async def post_raw(self, path: str, body: Body) -> bytes:
        """Post a request and return the answer's bytes, whatever JSON they are."""
        try:
            async with self._posting(path, self._with_model(body)) as response:
                await _raise_for_status(response)
                return await response.read()
        except aiohttp.ClientError as error:
            raise await self._connection_lost(error) from error

    async def events(self, path: str, body: Body) -> AsyncIterator[dict[str, JsonValue]]:
        """Post a streaming request and yield its chunks."""
        streamed = {**self._with_model(body), "stream": True}
        try:
            async with self._posting(path, streamed) as response:
                await _raise_for_status(response)
                async for line in response.content:
                    data = line.removeprefix(b"data:").strip()
                    if data.startswith(b"{"):
                        yield _chunk(path, data)
        except aiohttp.ClientError as error:
            raise await self._connection_lost(error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self.session.close()

    def _posting(
        self, path: str, body: Body
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = self._tracing.outgoing() if self._tracing else None
        return self.session.post(path, json=body, headers=headers)

    def _with_model(self, body: Body) -> dict[str, object]:
        given = {name: value for name, value in body.items() if value is not None}
        return {"model": self._served_name, **given}

    async def _connection_lost(self, error: aiohttp.ClientError) -> EngineError:
        # A dead engine says more than a closed connection, a moment later.
        await asyncio.to_thread(self._process.ended_within, _DEATH_S)
        self._process.check()
        return EngineError(f"The connection to {self._process.title} was lost: {error}.")


def _chunk(path: str, data: bytes) -> dict[str, JsonValue]:
    chunk = _json_object(path, data)
    if "error" in chunk:  # the status was sent before the engine failed
        msg = f"The engine failed in the middle of its answer: {_message(data.decode())}"
        raise EngineError(msg)
    return chunk


def _json_object(path: str, body: bytes) -> dict[str, JsonValue]:
    with suppress(ValueError):
        answer = json.loads(body)
        if isinstance(answer, dict):
            return answer
    msg = f"The engine's answer to POST {path} is not a JSON object; it begins {body[:80]!r}."
    raise EngineError(msg)


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status == HTTPStatus.OK:
        return
    text = await response.text()
    raise EngineRequestError(response.status, _message(text))


def _message(text: str) -> str:
    """The message inside an OpenAI error body, or the body itself."""
    try:
        body = json.loads(text)
    except ValueError:
        return text[:500]
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message") if isinstance(error, dict) else None
    return str(message or error)
