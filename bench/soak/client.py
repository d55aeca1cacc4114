"""One client of the soak: lanes of calls, each answer checked, one line of JSON for each call.

    python -m soak.client LANE...        # until it is ended

``error`` is empty for a right answer; ``spawned`` announces a call whose result must come even if
this client is killed.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import Awaitable, Callable

import httpx
import modal

APP = "soak"
PATIENCE_S = 90  # no call of this soak takes more than seconds; this long means it was lost
PAUSE_S = 0.3


class WrongAnswerError(Exception):
    """A call came back with something else than it should have."""


def expect(answer: object, right: object) -> None:
    """Hold an answer against what it has to be."""
    if answer != right:
        msg = f"got {str(answer)[:200]!r} instead of {str(right)[:200]!r}"
        raise WrongAnswerError(msg)


def say(**fields: object) -> None:
    """Write a line for the soak."""
    print(json.dumps(fields), flush=True)


def function(name: str) -> modal.Function:
    """Look a function of the deployed app up, as a program would each time."""
    return modal.Function.from_name(APP, name)


async def remote() -> None:
    number = random.randrange(1_000_000)
    expect(await function("square").remote.aio(number), number * number)


async def mapped() -> None:
    numbers = range(random.randrange(20, 120))
    answers = [answer async for answer in function("square").map.aio(numbers)]
    expect(answers, [number * number for number in numbers])


async def spawned() -> None:
    number = random.randrange(1_000_000)
    call = await function("slow").spawn.aio(number)
    say(spawned=call.object_id, right=2 * number)
    expect(await call.get.aio(), 2 * number)


async def generated() -> None:
    limit = random.randrange(1, 60)
    items = [item async for item in function("count").remote_gen.aio(limit)]
    expect(items, list(range(limit)))


async def nested() -> None:
    numbers = [random.randrange(1000) for _ in range(8)]
    expect(await function("total").remote.aio(numbers), sum(number**2 for number in numbers))


async def refused() -> None:
    word = uuid.uuid4().hex
    try:
        await function("refuse").remote.aio(word)
    except ValueError as error:
        expect(str(error), f"refused: {word}")
    else:
        expect("an answer", "a ValueError")


async def parametrised() -> None:
    start, number = random.randrange(3), random.randrange(1000)
    adder = modal.Cls.from_name(APP, "Adder")(start=start)
    expect(await adder.add.remote.aio(number), start + number)


async def stored() -> None:
    """What was written and committed in one container is read after a reload in another."""
    name, text = f"{random.randrange(50)}-{LANE_KEY}", uuid.uuid4().hex
    await function("write").remote.aio(name, text)
    expect(await function("read").remote.aio(name), text)


async def kept() -> None:
    """Dicts and queues, from this side."""
    key, value = uuid.uuid4().hex, random.randbytes(2000)
    store = modal.Dict.from_name(f"{APP}-dict", create_if_missing=True)
    await store.put.aio(key, value)
    expect(await store.pop.aio(key), value)
    queue = modal.Queue.from_name(f"{APP}-queue", create_if_missing=True)
    await queue.put_many.aio([1, 2, 3], partition=key)
    expect(await queue.get_many.aio(3, partition=key), [1, 2, 3])


async def asgi() -> None:
    url = await function("asgi").get_web_url.aio()
    body = random.randbytes(random.choice([10, 5_000, 300_000]))
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        answer = await client.post(str(url), content=body)
    answer.raise_for_status()
    expect(answer.content == body, right=True)


async def served() -> None:
    url = await modal.Server.from_name(APP, "Echo").get_url.aio()
    path = f"/{uuid.uuid4().hex}"
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        answer = await client.get(f"{url}{path}")
    answer.raise_for_status()
    expect(answer.text, path)


async def sandboxed() -> None:
    word = uuid.uuid4().hex
    app = await modal.App.lookup.aio(APP)
    sandbox = await modal.Sandbox.create.aio("sleep", "60", app=app)
    try:
        process = await sandbox.exec.aio("echo", word)
        expect((await process.stdout.read.aio()).strip(), word)
    finally:
        await sandbox.terminate.aio()


LANES: dict[str, list[Callable[[], Awaitable[None]]]] = {
    "calls": [remote, remote, mapped, refused],
    "spawns": [spawned, generated],
    "nested": [nested, parametrised],
    "storage": [stored, kept],
    "web": [asgi, served],
    "sandboxes": [sandboxed],
}
SLOWER = {"sandboxes": 10.0}
LANE_KEY = uuid.uuid4().hex[:8]


async def attempt(call: Callable[[], Awaitable[None]]) -> None:
    """Make one call and report how it went."""
    started, error = time.time(), ""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await call()
    except TimeoutError as timeout:
        error = f"no answer within {PATIENCE_S} s ({timeout})"
    except Exception as failure:  # noqa: BLE001 - the soak judges every kind of failure
        error = f"{type(failure).__name__}: {failure}"
    say(kind=call.__name__, started=started, ended=time.time(), error=error)


async def run(lane: str) -> None:
    """Call for ever, in an order that differs each time."""
    while True:
        for call in random.sample(LANES[lane], len(LANES[lane])):
            await attempt(call)
            await asyncio.sleep(SLOWER.get(lane, PAUSE_S))


async def main(lanes: list[str]) -> None:
    await asyncio.gather(*(run(lane) for lane in lanes))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or list(LANES)))
