"""Functions that are scaled in every way an autoscaler can be told to."""

import os
import time

import modal

app = modal.App("scaling")


@app.function(min_containers=2)
def kept() -> str:
    return os.environ["MODAL_TASK_ID"]


@app.function(max_containers=2)
def bounded(seconds: float) -> str:
    time.sleep(seconds)
    return os.environ["MODAL_TASK_ID"]


@app.function(buffer_containers=2, scaledown_window=2)
def buffered(gate: str) -> None:
    gates = modal.Dict.from_name("scaling-gates", create_if_missing=True)
    while gates.get(gate) != "open":
        time.sleep(0.1)


@app.function(scaledown_window=2)
def brief() -> str:
    return os.environ["MODAL_TASK_ID"]


@app.function()
def adjusted() -> None: ...


@app.function(min_containers=1)
def lowered() -> None: ...


@app.function(max_containers=1)
def taken_in_turns(number: int) -> int:
    time.sleep(0.05)
    return number


@app.function(max_containers=1)
def descends(depth: int) -> int:
    return 0 if not depth else 1 + descends.remote(depth - 1)


@app.cls(startup_timeout=2)
class Late:
    @modal.enter()
    def load(self) -> None:
        time.sleep(1000)

    @modal.method()
    def answer(self) -> None: ...
