"""A request's answers on the event loop: tokens in, text deltas out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from collections.abc import Sequence as Listed

from ..openai import ApiError, Delta, FinishReason, GenerationRequest, StopStrings, TokenLogprob
from .sequence import Sequence, TokenChances, TokenEvent
from .text import TextStream, TokenTexts

__all__ = ["TextGeneration"]


class TextGeneration:
    """Everything one request is waiting for. Lives on the event loop.

    Args:
        on_release: Called with a number of sequences when they no longer need the model.
    """

    def __init__(
        self,
        request: GenerationRequest,
        texts: TokenTexts,
        prompt_tokens: int,
        on_release: Callable[[int], None],
    ) -> None:
        self.prompt_tokens = prompt_tokens
        self._request = request
        self._texts = texts
        self._on_release = on_release
        self._choices: list[_Choice] = []
        self._ready: list[Delta] = []
        self._news = asyncio.Event()
        self._open = 0
        self._failure: ApiError | None = None

    def add(self, sequence: Sequence) -> None:
        """Follow one more sequence; its number is its place."""
        choice = _Choice(len(self._choices), sequence, self._request.stop, self._texts)
        self._choices.append(choice)
        self._open += 1
        sequence.on_token = lambda event: self._take(choice, event)
        sequence.on_failure = self._fail

    def cancel(self) -> None:
        """Let the model forget what is not finished."""
        for choice in self._choices:
            self._close(choice)
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[Listed[Delta]]:
        """Whatever is ready, until all choices are finished or cancelled."""
        while self._open or self._ready:
            if not self._ready:
                self._news.clear()
                await self._news.wait()
            ready, self._ready = self._ready, []
            if ready:
                yield ready
            if self._failure is not None:
                raise self._failure

    def _take(self, choice: _Choice, event: TokenEvent) -> None:
        if choice.closed:  # tokens of a step that began before its stop string was seen
            return
        delta = choice.take(event)
        self._ready.append(delta)
        if delta.finish_reason is not None:
            self._close(choice)
        self._news.set()

    def _close(self, choice: _Choice) -> None:
        if not choice.closed:
            choice.closed = choice.sequence.cancelled = True
            self._open -= 1
            self._on_release(1)

    def _fail(self, failure: ApiError) -> None:
        self._failure = failure
        self.cancel()


class _Choice:
    """One answer's text so far."""

    def __init__(
        self, index: int, sequence: Sequence, stops: tuple[str, ...], texts: TokenTexts
    ) -> None:
        self.sequence = sequence
        self.closed = False
        self._index = index
        self._texts = texts
        self._stream = TextStream(texts)
        self._stops = StopStrings(stops)

    def take(self, event: TokenEvent) -> Delta:
        """What this token adds to the answer."""
        ended = event.finish == "stop"  # by a token that is not itself part of the text
        text = "" if ended else self._stops.feed(self._stream.feed(event.token))
        finish: FinishReason | None = event.finish
        if finish is not None and not self._stops.found:
            text += self._stops.feed(self._stream.flush())
        if self._stops.found:
            finish = "stop"
        elif finish is not None:
            text += self._stops.flush()
        return Delta(
            self._index,
            text,
            tokens=1,
            logprobs=self._logprobs(event.token, event.chances),
            finish_reason=finish,
        )

    def _logprobs(self, token: int, chances: TokenChances | None) -> Listed[TokenLogprob]:
        if chances is None:
            return ()
        chance = self._texts.chance
        top = tuple(chance(other, logprob) for other, logprob in chances.top)
        return (TokenLogprob(chance(token, chances.chosen), top),)
