"""The smallest app: one function and entrypoints that call it."""

import sys

import modal

app = modal.App("hello")


@app.function()
def square(number: int) -> int:
    print(f"squaring {number}")
    return number * number


@app.function()
def fails() -> None:
    msg = "on purpose"
    raise ValueError(msg)


@app.local_entrypoint()
def main(number: int = 3) -> None:
    print(f"answer: {square.remote(number)}")


@app.local_entrypoint()
def broken() -> None:
    fails.remote()


@app.local_entrypoint()
def leave() -> None:
    sys.exit(7)
