"""Each workload by Ray Serve: one replica, one HTTP proxy. Run by the Python of its own environment."""

import asyncio
import signal
import sys

import ray
from bodies import CHUNKS, Item, Label, Row, Text, Token, Vector
from models import MiniLM, Mlp
from ray import serve
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

_TAKES = {"noop": Item, "one": Row, "batched": Row, "embed": Text, "stream": Token}


class Noop:
    takes = _TAKES["noop"]

    async def answer(self, item):
        return item

    async def __call__(self, request: Request) -> Response:
        answer = await self.answer(self.takes.model_validate_json(await request.body()))
        return Response(answer.model_dump_json(), media_type="application/json")


class One(Noop):
    takes = _TAKES["one"]

    def __init__(self) -> None:
        self.model = Mlp()

    async def answer(self, row):
        return Label(label=(await asyncio.to_thread(self.model, [row.features]))[0])


class Batched(One):
    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.005)
    async def labels(self, rows):
        return await asyncio.to_thread(self.model, rows)

    async def answer(self, row):
        return Label(label=await self.labels(row.features))


class Embed(Noop):
    takes = _TAKES["embed"]

    def __init__(self) -> None:
        self.model = MiniLM()

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def vectors(self, texts):
        return await asyncio.to_thread(self.model, texts)

    async def answer(self, text):
        return Vector(vector=await self.vectors(text.text))


class Stream(Noop):
    takes = _TAKES["stream"]

    async def __call__(self, request: Request) -> StreamingResponse:
        item = self.takes.model_validate_json(await request.body())
        return StreamingResponse(events(item), media_type="text/event-stream")


async def events(item):
    for _ in range(CHUNKS):
        yield b"data: " + item.model_dump_json().encode() + b"\n\n"


_CLASSES = {"noop": Noop, "one": One, "batched": Batched, "embed": Embed, "stream": Stream}


def main(workload: str, port: int) -> None:
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20)
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config={"log_level": 40})
    deployment = serve.deployment(_CLASSES[workload], max_ongoing_requests=256)
    serve.run(deployment.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
