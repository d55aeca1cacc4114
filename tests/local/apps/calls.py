"""Functions called in every way."""

import asyncio
import os
import signal
import time

import modal

app = modal.App("calls")
tries = modal.Dict.from_name("tries", create_if_missing=True)


@app.function()
def square(number: int) -> int:
    return number * number


@app.function()
async def asquare(number: int) -> int:
    await asyncio.sleep(0)
    return number * number


@app.function()
def add(left: int, right: int) -> int:
    return left + right


@app.function()
def count(limit: int):
    yield from range(limit)


@app.function()
async def acount(limit: int):
    for number in range(limit):
        await asyncio.sleep(0)
        yield number


@app.function()
def broken_count(limit: int):
    yield from range(limit)
    msg = "the generator broke"
    raise RuntimeError(msg)


@app.function()
def twice(data: bytes) -> bytes:
    return data + data


@app.function()
def fails(word: str) -> None:
    raise KeyError(word)


@app.function()
def sum_of_squares(limit: int) -> int:
    return sum(square.map(range(limit)))


@app.function()
def fibonacci(number: int) -> int:
    if number < 2:
        return number
    return sum(fibonacci.map([number - 1, number - 2]))


@app.function(retries=modal.Retries(max_retries=3, initial_delay=0.1, backoff_coefficient=1.0))
def third_time(key: str) -> int:
    attempt = tries.get(key, 0) + 1
    tries[key] = attempt
    if attempt < 3:
        msg = f"attempt {attempt}"
        raise RuntimeError(msg)
    return attempt


@app.function(timeout=2)
def sleeps(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@app.function(max_containers=1)
def interrupted(key: str) -> str:
    try:
        time.sleep(60)
    finally:
        tries[key] = "cleaned up"
    return "not interrupted"


@app.function()
def killed(how: str) -> None:
    if how == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(3)


@app.function(max_containers=1)
@modal.concurrent(max_inputs=8)
async def together(number: int) -> int:
    """Return only once eight inputs are here at the same time."""
    together.here = getattr(together, "here", 0) + 1
    while together.here < 8:  # noqa: ASYNC110 - an event would belong to one loop
        await asyncio.sleep(0.01)
    return number


@app.function(max_containers=1)
@modal.batched(max_batch_size=4, wait_ms=500)
def batch_sizes(numbers: list[int]) -> list[int]:
    return [len(numbers) for _ in numbers]


@app.function()
def process_id() -> tuple[int, str]:
    return os.getpid(), os.environ["MODAL_TASK_ID"]
