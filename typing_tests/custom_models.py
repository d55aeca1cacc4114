"""What mypy must see through the routes of custom models. Read by mypy --strict, never run.

``assert_type`` holds what types survive; each ``type: ignore`` holds an error that must be
reported, because an unused one is an error itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Annotated, assert_type

import modal
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from modalkit import Array, Batch, File, LiveBatch, ModelService, Picture, endpoint, serve, traced

app = modal.App("custom-types")


class Ask(BaseModel):
    text: str
    pixels: Annotated[NDArray[np.uint8], Array(shape=(None, 3))]


class Label(BaseModel):
    name: str


@serve(app)
class Batched(ModelService):
    def tokenize(self, asks: list[Ask]) -> list[list[int]]:
        return [[len(ask.text)] for ask in asks]

    async def fetch(self, asks: list[Ask]) -> dict[str, int]:
        return {ask.text: 1 for ask in asks}

    @endpoint("/sync", batch=Batch(8, by=lambda ask: ask.text, length="text", pad=0.1))
    def in_order(self, asks: list[Ask]) -> list[Label]:
        return [Label(name=ask.text) for ask in asks]

    @endpoint("/async", batch=Batch(8, max_parallel_batches=2))
    async def beside(self, asks: list[Ask]) -> list[Label]:
        return [Label(name=ask.text) for ask in asks]

    @endpoint("/failing", batch=Batch(8))
    def failing(self, asks: list[Ask]) -> list[Label | Exception]:
        return [Label(name=ask.text) if ask.text else ValueError("empty") for ask in asks]

    @endpoint("/failing-later", batch=Batch(8))
    async def failing_later(self, asks: list[Ask]) -> list[Label | Exception]:
        return [ValueError("empty") for _ in asks]

    @endpoint("/prepared", batch=Batch(8), prepare=tokenize)
    def prepared(self, asks: list[Ask], words: list[list[int]]) -> list[Label]:
        return [Label(name=f"{ask.text}{word}") for ask, word in zip(asks, words, strict=True)]

    @endpoint("/fetched", batch=Batch(8), prepare=fetch)
    async def fetched(self, asks: list[Ask], known: dict[str, int]) -> list[int]:
        return [known[ask.text] for ask in asks]

    @endpoint("/wrong", batch=Batch(8), prepare=tokenize)  # type: ignore[arg-type]
    def wrongly_prepared(self, asks: list[Ask], words: list[str]) -> list[int]:
        return [len(words) for _ in asks]

    @endpoint("/one", batch=Batch(8))  # type: ignore[arg-type]
    def not_a_batch(self, ask: Ask) -> Label:
        return Label(name=ask.text)

    @endpoint("/late", prepare=tokenize)  # type: ignore[call-overload, untyped-decorator]
    def prepared_without_batch(self, ask: Ask) -> Label:
        return Label(name=ask.text)


ask = Ask(text="x", pixels=np.zeros((2, 3), np.uint8))
assert_type(Batched().in_order.remote(ask), Label)
assert_type(Batched().beside.remote(ask), Label)
assert_type(Batched().failing.remote(ask), Label)
assert_type(Batched().failing_later.remote(ask), Label)
assert_type(Batched().prepared.remote(ask), Label)
assert_type(Batched().fetched.remote(ask), int)
assert_type(traced(Batched().fetched).remote(ask), int)
Batched().prepared.remote(ask, [[1]])  # type: ignore[call-arg]
Batched().in_order.remote([ask])  # type: ignore[arg-type]


@serve(app)
class Streams(ModelService):
    @endpoint("/count")
    def count(self, to: int, step: int = 1) -> Iterator[int]:
        yield from range(0, to, step)

    @endpoint("/words")
    async def words(self, text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield word

    @endpoint("/live", batch=Batch(8))
    def live(self, batch: LiveBatch[Ask, str]) -> Iterator[None]:
        for item in batch:
            assert_type(item.request, Ask)
            item.send(item.request.text)
            item.send(3)  # type: ignore[arg-type]
        yield

    @endpoint("/live-later", batch=Batch(8))
    async def live_later(self, batch: LiveBatch[Ask, bytes]) -> AsyncIterator[None]:
        for item in batch.joined:
            item.send(item.request.text.encode())
        yield

    @endpoint("/told", batch=Batch(8))  # type: ignore[arg-type]
    def yields_pieces(self, batch: LiveBatch[Ask, str]) -> Iterator[str]:
        yield "a step yields nothing"


assert_type(Streams().count.remote_gen(3), Generator[int, None, None])
assert_type(Streams().words.remote_gen.aio("a b"), AsyncGenerator[str, None])
assert_type(Streams().live.remote_gen(ask), Generator[str, None, None])
assert_type(Streams().live_later.remote_gen(ask), Generator[bytes, None, None])
Streams().count.remote_gen("3")  # type: ignore[arg-type]
Streams().live.remote_gen("text")  # type: ignore[arg-type]


@serve(app)
class Bodies(ModelService):
    @endpoint("/double")
    def double(self, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        return numbers * 2

    @endpoint("/size")
    def size(self, file: File, unit: int = 1) -> str:
        return f"{file.name}: {len(file.data) // unit}"

    @endpoint("/speech", media_type="audio/wav")
    async def speech(self, text: str) -> bytes:
        return text.encode()

    @endpoint("/flat", parallel=True)
    def flat(self, rows: Annotated[NDArray[np.float64], Array(encoding="base64")]) -> float:
        return float(rows.sum())


assert_type(Bodies().double.remote(np.ones(2, np.float32)), NDArray[np.float32])
assert_type(Bodies().size.remote(File(b"x"), unit=2), str)
assert_type(Bodies().speech.remote("x"), bytes)
assert_type(Bodies().flat.remote(np.ones(2)), float)
Bodies().size.remote(b"x")  # type: ignore[arg-type]
Array(shape=3)  # type: ignore[arg-type]
Array(encoding="hex")  # type: ignore[arg-type]
Picture(format="jpg")  # type: ignore[arg-type]
LiveBatch("8")  # type: ignore[arg-type]
Batch("8")  # type: ignore[arg-type]
Batch(8, on_error="ignore")  # type: ignore[arg-type]
