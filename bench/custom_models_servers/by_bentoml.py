"""Each workload by BentoML: one worker process. Started by ``bentoml serve by_bentoml:Service``."""

import os
from collections.abc import AsyncGenerator

import bentoml
from bodies import CHUNKS, Item
from models import MiniLM, Mlp

WORKLOAD = os.environ["WORKLOAD"]


class Noop:
    @bentoml.api(route="/predict", input_spec=Item)
    async def predict(self, **item) -> Item:
        return Item(**item)


class One:
    def __init__(self) -> None:
        self.model = Mlp()

    @bentoml.api(route="/predict")
    def predict(self, features: list[float]) -> int:
        return self.model([features])[0]


class Batched(One):
    @bentoml.api(route="/predict", batchable=True, max_batch_size=64, max_latency_ms=60_000)
    def predict(self, features: list[list[float]]) -> list[int]:
        return self.model(features)


class Embed:
    def __init__(self) -> None:
        self.model = MiniLM()

    @bentoml.api(route="/predict", batchable=True, max_batch_size=32, max_latency_ms=60_000)
    def predict(self, text: list[str]) -> list[list[float]]:
        return self.model(text)


class Stream:
    @bentoml.api(route="/predict")
    async def predict(self, token: str) -> AsyncGenerator[str, None]:
        for _ in range(CHUNKS):
            yield 'data: {"token":"' + token + '"}\n\n'


_CLASSES = {"noop": Noop, "one": One, "batched": Batched, "embed": Embed, "stream": Stream}
Service = bentoml.service(workers=1, traffic={"timeout": 60})(_CLASSES[WORKLOAD])
