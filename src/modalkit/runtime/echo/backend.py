"""The stand-in behind the OpenAI routes: answers at a chosen pace, fails when told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from ..openai import (
    ApiError,
    Capabilities,
    Delta,
    EmbeddingRequest,
    Embeddings,
    GenerationRequest,
    Load,
    ModelCard,
    Prompt,
    StopStrings,
    context_too_long,
    invalid,
)
from .script import answer, certain, prompt_words, tool_call, unit_vector, words

__all__ = ["EchoBackend", "EchoOptions"]

_OWNER = "modalkit-echo (stand-in)"


@dataclass(frozen=True, slots=True)
class EchoOptions:
    """How the stand-in behaves.

    A request may override three of these for itself with headers: ``X-Modalkit-Ttft-Ms``,
    ``X-Modalkit-Delay-Ms``, and ``X-Modalkit-Fail`` with a status from 400 to 599.

    Attributes:
        ttft_ms: Wait before the first word, in milliseconds.
        delay_ms: Wait before each further word, in milliseconds.
        fail_every: Every n-th request is answered 429 with ``Retry-After``; 0 is never.
        context_length: The most words of prompt and answer together.
        embedding_width: Numbers in a vector.
    """

    served_model_name: str = "echo"
    ttft_ms: float = 0.0
    delay_ms: float = 0.0
    fail_every: int = 0
    context_length: int = 8192
    embedding_width: int = 384


class EchoBackend:
    """A deterministic `Backend` without a model."""

    capabilities = Capabilities(tools=True)

    def __init__(self, options: EchoOptions) -> None:
        self._options = options
        self._requests = 0
        self._running = 0

    @property
    def card(self) -> ModelCard:
        """The served name; the owner says that this is a stand-in."""
        return ModelCard(self._options.served_model_name, _OWNER, self._options.context_length)

    def load(self) -> str:
        """Nothing is loaded."""
        return "a stand-in without a model"

    def close(self) -> None:
        """Nothing runs on its own."""

    def current_load(self) -> Load:
        """Every request runs at once; none waits."""
        return Load(self._running, 0)

    async def generate(self, request: GenerationRequest) -> EchoGeneration:
        """Begin to answer."""
        self._fail_if_told(request.options)
        limit = self._options.context_length
        for prompt in request.prompts:
            count, asked = prompt_words(prompt), request.max_tokens or 0
            if count + asked > limit:
                raise context_too_long(count, asked, limit, "messages")
        pace = _Pace(
            _milliseconds(request.options, "ttft-ms", self._options.ttft_ms),
            _milliseconds(request.options, "delay-ms", self._options.delay_ms),
        )
        return EchoGeneration(request, pace, self)

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """One unit vector per input."""
        self._fail_if_told(request.options)
        width = request.dimensions or self._options.embedding_width
        if width > self._options.embedding_width:
            msg = f"'dimensions' can be at most {self._options.embedding_width}, not {width}."
            raise invalid(param="dimensions", message=msg)
        await asyncio.sleep(self._options.ttft_ms / 1000)
        texts = [answer(entry) for entry in request.inputs]
        count = sum(len(words(text)) for text in texts)
        return Embeddings([unit_vector(text, width) for text in texts], count)

    def begun(self) -> None:
        """An answer is under way."""
        self._running += 1

    def ended(self) -> None:
        """An answer is over, finished or not."""
        self._running -= 1

    def _fail_if_told(self, options: Mapping[str, str]) -> None:
        self._requests += 1
        asked = options.get("fail")
        if asked is not None:
            _raise_injected(asked)
        every = self._options.fail_every
        if every and self._requests % every == 0:
            message = f"Injected: every {every}. request fails."
            raise _injected(HTTPStatus.TOO_MANY_REQUESTS, message)


@dataclass(frozen=True, slots=True)
class _Pace:
    ttft_ms: float
    delay_ms: float


class EchoGeneration:
    """One answer under way; every choice says the same."""

    def __init__(self, request: GenerationRequest, pace: _Pace, backend: EchoBackend) -> None:
        self._request = request
        self._pace = pace
        self._backend = backend
        self._cancelled = asyncio.Event()
        self.prompt_tokens = sum(map(prompt_words, request.prompts))

    def cancel(self) -> None:
        """Stop before the next word."""
        self._cancelled.set()

    async def __aiter__(self) -> AsyncIterator[Sequence[Delta]]:
        """One word of every choice per step."""
        self._backend.begun()
        try:
            wait_ms = self._pace.ttft_ms
            for step in self._steps():
                if not await self._waited(wait_ms):
                    return
                yield step
                wait_ms = self._pace.delay_ms
        finally:
            self._backend.ended()

    def _steps(self) -> Iterator[list[Delta]]:
        speakers = [
            _speak(prompt, place * self._request.n + copy, self._request)
            for place, prompt in enumerate(self._request.prompts)
            for copy in range(self._request.n)
        ]
        while deltas := [delta for speaker in speakers if (delta := next(speaker, None))]:
            yield deltas

    async def _waited(self, milliseconds: float) -> bool:
        """Wait; false when cancelled meanwhile."""
        try:
            # A timeout of 0 would never let the loop run, and a cancel could not arrive.
            await asyncio.wait_for(self._cancelled.wait(), max(milliseconds, 0.001) / 1000)
        except TimeoutError:
            return True
        return False


def _speak(prompt: Prompt, choice: int, request: GenerationRequest) -> Iterator[Delta]:
    """The deltas of one choice; the last has the finish reason."""
    call = tool_call(prompt)
    if call is not None:
        count = len(words(call.arguments)) + 1
        yield Delta(choice, tokens=count, tool_calls=(call,), finish_reason="tool_calls")
        return
    stops = StopStrings(request.stop)
    said = words(answer(prompt))
    allowed = said[: request.max_tokens]
    for word in allowed:
        logprobs = (certain(word),) if request.top_logprobs is not None else ()
        text = stops.feed(word)
        if stops.found:
            yield Delta(choice, text, tokens=1, logprobs=logprobs, finish_reason="stop")
            return
        yield Delta(choice, text, tokens=1, logprobs=logprobs)
    whole = len(allowed) == len(said)
    yield Delta(choice, stops.flush(), finish_reason="stop" if whole else "length")


def _milliseconds(options: Mapping[str, str], name: str, default: float) -> float:
    value = options.get(name)
    if value is None:
        return default
    try:
        return float(value)
    except ValueError:
        msg = f"The header 'X-Modalkit-{name.title()}' must be a number of milliseconds, not {value!r}."
        raise invalid(param=None, message=msg) from None


def _raise_injected(asked: str) -> None:
    lowest, highest = 400, 599
    if not asked.isdecimal() or not lowest <= int(asked) <= highest:
        msg = f"The header 'X-Modalkit-Fail' must be a status from 400 to 599, not {asked!r}."
        raise invalid(param=None, message=msg)
    raise _injected(int(asked), "Injected: the request asked for this failure.")


def _injected(status: int, message: str) -> ApiError:
    busy = status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
    retry_after_s = 1 if busy else None
    return ApiError(status, message, code="injected_failure", retry_after_s=retry_after_s)
