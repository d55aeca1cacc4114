"""One app with everything a command line can ask for: arguments of every type, logs, a class."""

import datetime as dt
import time

import modal

app = modal.App("life", tags={"team": "tests"})


@app.function()
def add(one: int, other: float = 0.5, *, shout: bool = False) -> str:
    answer = f"sum {one + other}"
    return answer.upper() if shout else answer


@app.function()
def chat(words: str) -> None:
    import sys

    print(f"out: {words}")
    print(f"err: {words}", file=sys.stderr)


@app.function()
def slow(seconds: float) -> str:
    print(f"sleeping {seconds}")
    time.sleep(seconds)
    return "slept"


@app.function()
def held(key: str) -> str:
    """Wait for the test to open the gate; a second container does not."""
    gates = modal.Dict.from_name("life-gates", create_if_missing=True)
    if gates.get(key) == "seen":
        return "ran again"
    gates[key] = "seen"
    print(f"held by {key}")
    while gates.get(key) != "open":
        time.sleep(0.1)
    return "let go"


@app.cls()
class Greeter:
    greeting: str = modal.parameter(default="hello")

    @modal.exit()
    def leave(self) -> None:
        print("the exit hook ran")

    @modal.method()
    def greet(self, name: str) -> str:
        return f"{self.greeting}, {name}"


@app.cls()
class Doubler:
    @modal.method()
    def double(self, numbers: list[int]) -> list[int]:
        return [2 * number for number in numbers]


@app.local_entrypoint()
def every_type(
    text: str,
    whole: int = 1,
    real: float = 2.5,
    yes: bool = False,
    when: dt.datetime = dt.datetime(2026, 1, 1),
) -> str:
    line = f"{text!r} {whole!r} {real!r} {yes!r} {when:%Y-%m-%d}"
    print(line)
    return line


@app.local_entrypoint()
def rest(*words: str) -> None:
    print("words:", *words)


@app.local_entrypoint()
async def waits() -> None:
    print("async answer:", await add.remote.aio(1))


@app.local_entrypoint()
def start_slow(seconds: float = 2.0) -> None:
    print("spawned", slow.spawn(seconds).object_id)
