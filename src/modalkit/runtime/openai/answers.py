"""From a started generation to an HTTP answer, streamed or whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from pydantic import JsonValue
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from .backend import Delta, Generation
from .metrics import Metrics
from .problems import ApiError
from .replies import Answer, gather, usage
from .sse import Chunks, error_chunk

__all__ = ["Observed", "StreamedAnswer", "whole_answer"]

ChoiceBody = Callable[[int, Answer], dict[str, JsonValue]]


class Observed:
    """A generation whose tokens and pauses are counted as they pass."""

    def __init__(self, generation: Generation, metrics: Metrics, started: float) -> None:
        self._generation = generation
        self._metrics = metrics
        self._started = started
        self.prompt_tokens = generation.prompt_tokens
        self.completion_tokens = 0
        self.client_left = False
        metrics.prompt_tokens.value += generation.prompt_tokens

    async def __aiter__(self) -> AsyncIterator[Sequence[Delta]]:
        """Pass the deltas on."""
        last = 0.0
        async for deltas in self._generation:
            now = time.perf_counter()
            if last:
                self._metrics.between_tokens.observe(now - last)
            else:
                self._metrics.first_token.observe(now - self._started)
            last = now
            count = sum([delta.tokens for delta in deltas])
            self.completion_tokens += count
            self._metrics.completion_tokens.value += count
            yield deltas
        self._metrics.duration.observe(time.perf_counter() - self._started)

    def client_has_left(self) -> None:
        """End the generation for want of a reader."""
        self.client_left = True
        self._metrics.cancelled.value += 1
        self._generation.cancel()

    def cancel(self) -> None:
        """End the generation."""
        self._generation.cancel()


@asynccontextmanager
async def _watched(generation: Observed, receive: Receive) -> AsyncIterator[None]:
    """Cancel the generation as soon as its client disconnects, and in any case at the end."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        generation.client_has_left()

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()
        generation.cancel()


async def whole_answer(
    generation: Observed,
    receive: Receive,
    envelope: dict[str, JsonValue],
    choices: int,
    choice_body: ChoiceBody,
) -> Response:
    """Wait for every choice and answer in one body."""
    answers = [Answer() for _ in range(choices)]
    async with _watched(generation, receive):
        async for deltas in generation:
            gather(answers, deltas)
    envelope["choices"] = [choice_body(index, answer) for index, answer in enumerate(answers)]
    envelope["usage"] = usage(generation.prompt_tokens, generation.completion_tokens)
    return JSONResponse(envelope)


class StreamedAnswer(Response):
    """Server-sent events, one write per wake-up of the generation."""

    def __init__(self, generation: Observed, chunks: Chunks) -> None:
        super().__init__(media_type="text/event-stream")
        # A body of unknown length: the server frames it in chunks.
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-store"
        self.headers["x-accel-buffering"] = "no"  # proxies must pass tokens on as they come
        self._generation = generation
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the generation ends or the client leaves."""
        del scope
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with _watched(self._generation, receive):
            await send(start)
            try:
                last = await self._send_deltas(send)
            except ApiError as error:
                last = error_chunk(error.body())
        await send({"type": "http.response.body", "body": last})

    async def _send_deltas(self, send: Send) -> bytes:
        """Send everything but the end, which is returned."""
        encode = self._chunks.encode
        async for deltas in self._generation:
            body = encode(deltas)
            if body:
                await send({"type": "http.response.body", "body": body, "more_body": True})
        return self._chunks.end(self._generation.prompt_tokens, self._generation.completion_tokens)
