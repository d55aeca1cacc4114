"""Functions that ask for GPUs, and say what they got."""

import os
import time

import modal

app = modal.App("gpus")


@app.function(gpu="H100:2", scaledown_window=2)
def two(held_s: float = 0.0) -> tuple[str, float, float]:
    began = time.time()
    time.sleep(held_s)
    return os.environ.get("CUDA_VISIBLE_DEVICES", "unset"), began, time.time()


@app.function(gpu="H100", scaledown_window=2)
def one(held_s: float = 0.0) -> tuple[str, float, float]:
    began = time.time()
    time.sleep(held_s)
    return os.environ.get("CUDA_VISIBLE_DEVICES", "unset"), began, time.time()


@app.function(scaledown_window=2)
def none() -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "unset")


@app.local_entrypoint()
def share() -> None:
    for names, began, ended in one.map([0.5] * 6):
        print(f"one {names or None} {began} {ended}")


@app.local_entrypoint()
def pairs() -> None:
    calls = [two.spawn(0.5), one.spawn(0.5), two.spawn(0.5)]
    for call in calls:
        names, began, ended = call.get()
        print(f"some {names} {began} {ended}")


@app.local_entrypoint()
def plain() -> None:
    print(f"none {none.remote()!r}")


@app.local_entrypoint()
def single() -> None:
    print(f"single {one.remote()[0]!r}")
