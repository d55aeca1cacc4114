"""What sandboxes, dicts and queues of the local Modal cost: making one, running a command, a file.

    python bench/local_sandboxes.py            # print the figures
    python bench/local_sandboxes.py --write    # and put them in bench/results/local_sandboxes.md

Everything goes through the real client. Beside each figure of a sandbox stands the same work done
by a plain process of this machine, in the same run.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import modal

RESULTS = Path(__file__).parent / "results" / "local_sandboxes.md"
INSIDE = "MODALKIT_BENCH_INSIDE"


def milliseconds(work: Callable[[], object], times: int) -> str:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return f"{statistics.median(taken):.1f} | {min(taken):.1f} | {max(taken):.1f}"


def figures() -> list[str]:
    app = modal.App.lookup("bench-sandboxes", create_if_missing=True)
    made: list[modal.Sandbox] = []

    def make() -> None:
        made.append(modal.Sandbox.create(app=app))

    def run(*words: str) -> bytes:
        process = made[-1].exec(*words, text=False)
        output = process.stdout.read()
        process.wait()
        return output

    make()  # the first one loads what later ones share
    rows = [
        f"| `Sandbox.create` | {milliseconds(make, 20)} |",
        f"| `exec('true')` and `wait` | {milliseconds(lambda: run('true'), 100)} |",
        f"| the same, a plain process | {milliseconds(lambda: plain('true'), 100)} |",
        f"| `exec('python', '-c', 'pass')` | {milliseconds(lambda: run(*PYTHON), 30)} |",
        f"| the same, a plain process | {milliseconds(lambda: plain(*PYTHON), 30)} |",
        f"| 100 MB of output | {milliseconds(lambda: run(*LARGE), 3)} |",
        f"| the same, a plain process | {milliseconds(lambda: plain(*LARGE), 3)} |",
        f"| `filesystem.write_text` | {milliseconds(lambda: write(made[-1]), 30)} |",
    ]
    held = modal.Dict.from_name("bench", create_if_missing=True)
    line = modal.Queue.from_name("bench", create_if_missing=True)
    rows += [
        f"| `Dict.put` | {milliseconds(lambda: held.put('key', 1), 300)} |",
        f"| `Dict.get` | {milliseconds(lambda: held.get('key'), 300)} |",
        f"| `Queue.put` | {milliseconds(lambda: line.put(1), 300)} |",
        f"| `Queue.get` | {milliseconds(line.get, 300)} |",
    ]
    for sandbox in made:
        sandbox.terminate()
    return rows


PYTHON = ("python", "-c", "pass")
LARGE = ("head", "-c", "100000000", "/dev/zero")


def plain(*words: str) -> None:
    subprocess.run(words, capture_output=True, check=True)


def write(sandbox: modal.Sandbox) -> None:
    sandbox.filesystem.write_text("x" * 1000, "/tmp/file")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--write", action="store_true")
    chosen = options.parse_args()
    if INSIDE in os.environ:
        print("\n".join(figures()))
        return
    with tempfile.TemporaryDirectory(prefix="mk-bench-") as state:
        start = "from modalkit.cli import main; main()"
        words = ["local", "--state", state, "-q", sys.executable, __file__]
        load = os.getloadavg()[0]
        done = subprocess.run(
            [sys.executable, "-c", start, *words],
            env={**os.environ, INSIDE: "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    text = (
        "# Sandboxes, dicts and queues of the local Modal\n\n"
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, modal "
        f"{modal.__version__}, {os.cpu_count()} cores, load {load:.1f} before the run. "
        "Made by `python bench/local_sandboxes.py --write`.\n\n"
        "| milliseconds | p50 | min | max |\n|---|--:|--:|--:|\n" + done.stdout
    )
    print(text)
    if chosen.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
