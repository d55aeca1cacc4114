"""Each workload by hand: Starlette, or FastAPI, and a batcher of forty lines."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from bodies import CHUNKS, Item, Label, Row, Text, Token, Vector
from models import MiniLM, Mlp
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route


class Batcher:
    def __init__(self, model, size, wait_s=0.005):
        self.model, self.size, self.wait_s = model, size, wait_s
        self.queue, self.pool = asyncio.Queue(), ThreadPoolExecutor(1)
        self.task = None

    async def __call__(self, item):
        self.task = self.task or asyncio.create_task(self.run())
        answer = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((item, answer))
        return await answer

    async def run(self):
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self.queue.get()]
            until = loop.time() + self.wait_s
            while len(batch) < self.size:
                if not self.queue.empty():
                    batch.append(self.queue.get_nowait())
                    continue
                try:
                    batch.append(await asyncio.wait_for(self.queue.get(), until - loop.time()))
                except TimeoutError:
                    break
            answers = await loop.run_in_executor(self.pool, self.model, [item for item, _ in batch])
            for (_, answer), value in zip(batch, answers, strict=True):
                answer.set_result(value)


class Work:
    """What each workload takes and answers."""

    def __init__(self, workload):
        self.kinds = {"noop": (Item, Item), "one": (Row, Label), "batched": (Row, Label)} | {
            "embed": (Text, Vector),
            "stream": (Token, Token),
        }
        self.request, self.answer = self.kinds[workload]
        if workload == "one":
            self.model, self.pool = Mlp(), ThreadPoolExecutor(1)
        elif workload == "batched":
            self.batcher = Batcher(Mlp(), 64)
        elif workload == "embed":
            self.batcher = Batcher(MiniLM(), 32)

    async def noop(self, item):
        return item

    async def one(self, row):
        loop = asyncio.get_running_loop()
        return Label(label=(await loop.run_in_executor(self.pool, self.model, [row.features]))[0])

    async def batched(self, row):
        return Label(label=await self.batcher(row.features))

    async def embed(self, text):
        return Vector(vector=await self.batcher(text.text))


async def events(item):
    for _ in range(CHUNKS):
        yield b"data: " + item.model_dump_json().encode() + b"\n\n"


def by_starlette(workload, work):
    call = getattr(work, workload, None)

    async def predict(request):
        item = work.request.model_validate_json(await request.body())
        if workload == "stream":
            return StreamingResponse(events(item), media_type="text/event-stream")
        answer = await call(item)
        return Response(answer.model_dump_json(), media_type="application/json")

    return Starlette(routes=[Route("/predict", predict, methods=["POST"])])


def by_fastapi(workload, work):
    from fastapi import FastAPI

    app = FastAPI()
    call = getattr(work, workload, None)

    if workload == "stream":

        @app.post("/predict")
        async def stream(item: work.request):
            return StreamingResponse(events(item), media_type="text/event-stream")

        return app

    @app.post("/predict", response_model=work.answer)
    async def predict(item: work.request):
        return await call(item)

    return app


if __name__ == "__main__":
    framework, workload_, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    make = {"starlette": by_starlette, "fastapi": by_fastapi}[framework]
    app_ = make(workload_, Work(workload_))
    uvicorn.run(
        app_, port=port, loop="uvloop", http="httptools", log_level="warning", access_log=False
    )
