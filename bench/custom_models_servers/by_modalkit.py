"""Each workload as a modalkit service, on its own server."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator

from bodies import CHUNKS, Item, Label, Row, Text, Token, Vector
from models import MiniLM, Mlp

from modalkit import Batch, Endpoint, ModelService, endpoint
from modalkit.declare.routes import Route
from modalkit.runtime.custom_host import CustomHost
from modalkit.runtime.custom_server import CustomServer


class Noop(ModelService):
    @endpoint("/predict")
    async def predict(self, item: Item) -> Item:
        return item


class One(ModelService):
    def load(self) -> None:
        self.model = Mlp()

    @endpoint("/predict")
    def predict(self, row: Row) -> Label:
        return Label(label=self.model([row.features])[0])


class Batched(One):
    @endpoint("/predict", batch=Batch(64))
    def predict(self, rows: list[Row]) -> list[Label]:
        return [Label(label=label) for label in self.model([row.features for row in rows])]


def tokens(text: Text) -> int:
    return text.text.count(" ") + 3  # its words, about, and the two that every text has


class Embed(ModelService):
    def load(self) -> None:
        self.model = MiniLM()

    @endpoint("/predict", batch=Batch(32, length=tokens, pad="auto"))
    def predict(self, texts: list[Text]) -> list[Vector]:
        return [Vector(vector=vector) for vector in self.model([text.text for text in texts])]


class Stream(ModelService):
    @endpoint("/predict")
    async def predict(self, item: Token) -> AsyncIterator[Token]:
        for _ in range(CHUNKS):
            yield item


SERVICES = {"noop": Noop, "one": One, "batched": Batched, "embed": Embed, "stream": Stream}


def main(workload: str, port: int, log: str = "off") -> None:
    service = SERVICES[workload]
    routes = {name: one for name, one in vars(service).items() if isinstance(one, Route)}
    rules = Endpoint(kind="server", public=True, port=port, access_log=log)
    CustomServer(CustomHost(service(), routes), rules).start()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
