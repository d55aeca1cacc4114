"""Text generation: requests from the event loop, a model in a thread of its own."""

from __future__ import annotations

import asyncio
import secrets

from ..openai import (
    Capabilities,
    GenerationRequest,
    Load,
    Prompt,
    context_too_long,
    invalid,
    overloaded,
)
from .answer import TextGeneration
from .decode_thread import DecodeThread
from .draws import Draws
from .prompts import PromptEncoder
from .scheduler import Scheduler
from .sequence import Sequence
from .text import TokenTexts

__all__ = ["TextEngine"]

_LONG_PROMPT = 20_000  # characters; encoding more would hold up everybody's tokens


class TextEngine:
    """Turns requests into sequences and follows them to their end.

    Args:
        ends: The model's own end-of-text tokens.
        max_open: The most sequences that run and wait together.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        encoder: PromptEncoder,
        texts: TokenTexts,
        *,
        ends: frozenset[int],
        context_length: int,
        max_open: int,
    ) -> None:
        self.context_length = context_length
        self.capabilities = Capabilities(
            chat=encoder.knows_chat, embeddings=False, template_arguments=True
        )
        self._scheduler = scheduler
        self._encoder = encoder
        self._texts = texts
        self._ends = ends
        self._max_open = max_open
        self._open = 0
        self._thread: DecodeThread | None = None

    def current_load(self) -> Load:
        """Sequences in the model and before it."""
        return Load(0, 0) if self._thread is None else self._thread.current_load()

    def close(self) -> None:
        """End the decode thread after its current step."""
        if self._thread is not None:
            self._thread.close()
            self._thread.join(timeout=10)

    async def generate(self, request: GenerationRequest) -> TextGeneration:
        """Queue a request's sequences."""
        self._encoder.check_bias(request.sampling.logit_bias)
        prompts = [await self._encode(prompt) for prompt in request.prompts]
        limits = [self._room(len(prompt), request) for prompt in prompts]
        self._reserve(len(prompts) * request.n)
        generation = TextGeneration(
            request, self._texts, sum(map(len, prompts)), on_release=self._release
        )
        sequences = [
            self._sequence(request, prompt, limit, copy)
            for prompt, limit in zip(prompts, limits, strict=True)
            for copy in range(request.n)
        ]
        for sequence in sequences:
            generation.add(sequence)
        self._running_thread().submit(sequences)
        return generation

    async def _encode(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            size = len(prompt)
        else:
            size = 0 if isinstance(prompt, tuple) else sum(len(m.content) for m in prompt.messages)
        if size > _LONG_PROMPT:
            return await asyncio.to_thread(self._encoder.encode, prompt)
        return self._encoder.encode(prompt)

    def _room(self, prompt_tokens: int, request: GenerationRequest) -> int:
        """How many tokens may be generated after this prompt."""
        left = self.context_length - prompt_tokens
        asked = request.max_tokens or max(left, 1)
        if asked > left:
            raise context_too_long(prompt_tokens, asked, self.context_length, "messages")
        return asked

    def _reserve(self, count: int) -> None:
        if count > self._max_open:
            msg = f"A request may have at most {self._max_open} answers here, not {count}."
            raise invalid(param="n", message=msg)
        if self._open + count > self._max_open:
            raise overloaded(self.current_load().waiting)
        self._open += count

    def _release(self, count: int) -> None:
        self._open -= count
        if self._thread is not None:
            self._thread.wake()

    def _sequence(
        self, request: GenerationRequest, prompt: list[int], limit: int, copy: int
    ) -> Sequence:
        seed = request.sampling.seed
        return Sequence(
            prompt=prompt,
            max_tokens=limit,
            ends=frozenset() if request.ignore_eos else self._ends,
            # Several answers to one seed differ, and are the same next time.
            draws=Draws(request.sampling, secrets.randbits(64) if seed is None else seed + copy),
            top_logprobs=request.top_logprobs,
        )

    def _running_thread(self) -> DecodeThread:
        if self._thread is None:
            self._thread = DecodeThread(self._scheduler, asyncio.get_running_loop())
            self._thread.start()
        return self._thread
