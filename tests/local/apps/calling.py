"""More ways of calling: around maxima, deaths, large things and closures."""

import os
import signal
import time
from pathlib import Path

import modal

app = modal.App("calling")
seen = modal.Dict.from_name("calling-seen", create_if_missing=True)
arrivals = modal.Queue.from_name("calling-arrivals", create_if_missing=True)
notes = modal.Volume.from_name("calling-notes", create_if_missing=True)
word = modal.Secret.from_dict({"CALLING_WORD": "swordfish"})


@app.function(max_containers=1)
def alone(number: int) -> int:
    """Take a moment, with one container for everybody."""
    time.sleep(0.01)
    return -number


@app.function(max_containers=1)
def depth(levels: int) -> int:
    """Call itself, deeper than there may be containers."""
    return 0 if levels == 0 else 1 + depth.remote(levels - 1)


@app.function()
def length(data: bytes) -> int:
    return len(data)


@app.function()
def zeros(size: int) -> bytes:
    return bytes(size)


@app.function()
def dies_once(key: str) -> str:
    """Lose the container at the first try, without a word."""
    if seen.put(key, 1, skip_if_exists=True):
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@app.cls(max_containers=1)
class DiesStarting:
    """Its container is killed in its first ``times`` starts."""

    key: str = modal.parameter()
    times: int = modal.parameter()

    @modal.enter()
    def start(self) -> None:
        """Die, or not any more."""
        before = seen.get(self.key, 0)
        seen[self.key] = before + 1
        if before < self.times:
            os.kill(os.getpid(), signal.SIGKILL)

    @modal.method()
    def starts(self) -> int:
        """Return how often a container was started."""
        return seen[self.key]


@app.function(volumes={"/notes": notes}, secrets=[word])
def closes_over(key: str) -> list[str]:
    """Use a volume, a secret, a dict and a queue from around the function."""
    Path("/notes", key).write_text("noted")
    notes.commit()
    seen[key] = "kept"
    arrivals.put("arrived", partition=key)
    return [os.environ["CALLING_WORD"], Path("/notes", key).read_text(), seen[key]]


@app.function()
def goes_wrong_deep_down() -> None:
    def below() -> None:
        msg = "wrong deep down"
        raise ValueError(msg)

    below()


class UnpicklableError(Exception):
    """An exception that no other process can rebuild."""

    def __init__(self) -> None:
        super().__init__("cannot travel")
        self.handle = Path("/proc/self/status").open()  # noqa: SIM115 - it must stay open


@app.function()
def cannot_be_pickled() -> None:
    raise UnpicklableError


@app.function(retries=modal.Retries(max_retries=2, initial_delay=0.2, backoff_coefficient=2.0))
def always_fails(key: str) -> None:
    arrivals.put(time.time(), partition=key)
    msg = "again"
    raise RuntimeError(msg)


@app.function(max_containers=1)
def slow(key: str, number: int, seconds: float = 1) -> int:
    """Leave a trace of having started."""
    arrivals.put(number, partition=key)
    time.sleep(seconds)
    return number


@app.function()
def parent_of(count: int) -> int:
    return sum(child.map(range(count)))


@app.function()
def leave_to_child(number: int) -> str:
    """Return the id of a call that goes on without it."""
    return child.spawn(number).object_id


@app.function()
def child(number: int) -> int:
    return number


@app.function(max_containers=1)
@modal.concurrent(max_inputs=10, target_inputs=2)
def rush(number: int) -> int:
    time.sleep(0.5)
    return number


@app.function(serialized=True)
def by_value(number: int) -> int:
    return number + len("value")


@app.local_entrypoint()
def forever() -> None:
    """Map until someone presses Ctrl-C."""
    print("mapping", flush=True)
    for _ in slow.map(["ctrl-c"] * 100, range(100)):
        print("one is done", flush=True)
