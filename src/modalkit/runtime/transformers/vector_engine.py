"""Embeddings: concurrent requests share the model's batches."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..openai import (
    Capabilities,
    EmbeddingRequest,
    Embeddings,
    Load,
    invalid,
    overloaded,
)
from .hub import vocabulary_size
from .pooling import Pooling

__all__ = ["TextEncoder", "VectorEngine"]


class TextEncoder:
    """A model, its tokenizer and its pooling; texts in, vectors out, in one thread at a time.

    Args:
        max_tokens: Longer texts are cut, as sentence-transformers does.
        prefix: Put before every text.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pooling: Pooling,
        *,
        max_tokens: int,
        lowercase: bool,
        prefix: str,
    ) -> None:
        self.max_tokens = max_tokens
        self.width: int = model.config.hidden_size
        self._model = model
        self._tokenizer = tokenizer
        self._pooling = pooling
        self._lowercase = lowercase
        self._prefix = prefix
        self._vocabulary = vocabulary_size(model)

    def tokens(self, text: str | tuple[int, ...]) -> list[int]:
        """The ids the model reads; ids given by the client are taken as they are."""
        if isinstance(text, str):
            whole = self._prefix + text
            lowered = whole.lower() if self._lowercase else whole
            ids = self._tokenizer(lowered, truncation=True, max_length=self.max_tokens).input_ids
            return list(ids)
        unknown = next((token for token in text if token >= self._vocabulary), None)
        if unknown is not None:
            msg = (
                f"The token id {unknown} is not below {self._vocabulary}, this model's vocabulary."
            )
            raise invalid(param="input", message=msg)
        return list(text[: self.max_tokens])

    @torch.inference_mode()
    def encode(self, batch: list[list[int]]) -> list[list[float]]:
        """One vector per list of token ids."""
        padded = self._tokenizer.pad({"input_ids": batch}, return_tensors="pt")
        inputs = padded.to(self._model.device)
        vectors = self._model(**inputs).last_hidden_state
        pooled: list[list[float]] = self._pooling(vectors, inputs["attention_mask"]).tolist()
        return pooled


@dataclass(slots=True)
class _Job:
    tokens: list[int]
    vector: asyncio.Future[list[float]]


class VectorEngine:
    """Gathers what is waiting into batches; runs one batch at a time beside the event loop."""

    capabilities = Capabilities(chat=False, completions=False)

    def __init__(self, encoder: TextEncoder, max_batch_size: int, max_waiting: int) -> None:
        self.context_length = encoder.max_tokens
        self._encoder = encoder
        self._max_batch_size = max_batch_size
        self._max_waiting = max_waiting
        self._waiting: deque[_Job] = deque()
        self._running = 0
        self._requests = 0
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="modalkit-encode")
        self._task: asyncio.Task[None] | None = None

    def current_load(self) -> Load:
        """Texts in the model and before it."""
        return Load(self._running, len(self._waiting))

    def close(self) -> None:
        """Let the current batch end and start no other."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """The vectors of all inputs, in order."""
        width = self._checked_width(request.dimensions)
        if self._requests >= self._max_waiting + 1:
            raise overloaded(self._requests)
        self._requests += 1
        try:
            loop = asyncio.get_running_loop()
            tokens = await loop.run_in_executor(None, self._tokenize, request)
            jobs = [_Job(ids, loop.create_future()) for ids in tokens]
            vectors = await self._run(jobs)
        finally:
            self._requests -= 1
        if request.dimensions is not None:
            vectors = [_shortened(vector, width) for vector in vectors]
        return Embeddings(vectors, sum(map(len, tokens)))

    def _checked_width(self, asked: int | None) -> int:
        width = self._encoder.width
        if asked is not None and asked > width:
            raise invalid(
                param="dimensions", message=f"'dimensions' can be at most {width}, not {asked}."
            )
        return asked or width

    def _tokenize(self, request: EmbeddingRequest) -> list[list[int]]:
        return [self._encoder.tokens(text) for text in request.inputs]

    async def _run(self, jobs: list[_Job]) -> list[list[float]]:
        self._waiting.extend(jobs)
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        try:
            return await asyncio.gather(*(job.vector for job in jobs))
        finally:
            for job in jobs:
                job.vector.cancel()  # of a request that was given up

    async def _work(self) -> None:
        """Run batches until nothing waits."""
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            self._running = len(batch)
            ids = [job.tokens for job in batch]
            try:
                vectors = await loop.run_in_executor(self._worker, self._encoder.encode, ids)
            except Exception as error:  # noqa: BLE001  it is these requests' own
                _fail(batch, error)
            else:
                for job, vector in zip(batch, vectors, strict=True):
                    if not job.vector.done():
                        job.vector.set_result(vector)
        self._running, self._task = 0, None

    def _next_batch(self) -> list[_Job]:
        """The longest-waiting texts that anybody still wants."""
        batch: list[_Job] = []
        while self._waiting and len(batch) < self._max_batch_size:
            job = self._waiting.popleft()
            if not job.vector.done():
                batch.append(job)
        return batch


def _fail(batch: list[_Job], error: Exception) -> None:
    for job in batch:
        if not job.vector.done():
            job.vector.set_exception(error)


def _shortened(vector: list[float], width: int) -> list[float]:
    """The first numbers of a vector, at length one again."""
    kept = torch.tensor(vector[:width])
    shortened: list[float] = torch.nn.functional.normalize(kept, dim=0).tolist()
    return shortened
