"""What a large volume costs the local Modal: containers that mount it, commits of one small file.

    python bench/local_volumes.py [--files 10000] [--kib 100] [--rounds 15] [--write]

The program below runs through the real client. A container with the full volume, one with an empty
volume and one without any start in turn, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

COMMAND = [sys.executable, "-c", "from modalkit.cli import main; main()", "local", "-q"]
RESULTS = Path(__file__).parent / "results" / "local_volumes.md"
PROGRAM = """
import json
import os
import time

import modal

app = modal.App("bench-volumes")
full = modal.Volume.from_name("full", create_if_missing=True)
empty = modal.Volume.from_name("empty", create_if_missing=True)


def timed(work) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def write_and_commit(volume: modal.Volume, number: int) -> None:
    with open(f"/data/small-{number}", "w") as out:
        out.write(str(number))
    volume.commit()


@app.function(volumes={"/data": full}, timeout=1200)
def fill(files: int, kib: int) -> float:
    block = os.urandom(1024 * kib)
    for number in range(files):
        folder = f"/data/{number // 100}"
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/{number}", "wb") as out:
            out.write(block)
    return timed(full.commit)


@app.function(volumes={"/data": full}, timeout=1200)
def commits(rounds: int) -> dict[str, list[float]]:
    took = {"commit": [], "reload": []}
    for number in range(rounds):
        took["commit"].append(timed(lambda: write_and_commit(full, number)))
        took["reload"].append(timed(full.reload))
    with open("/data/0/0") as held:
        took["commit, a file open"] = [
            timed(lambda: write_and_commit(full, rounds + number)) for number in range(rounds)
        ]
    return took


@app.cls(volumes={"/data": full})
class Full:
    number: int = modal.parameter()

    @modal.method()
    def first(self): ...


@app.cls(volumes={"/data": empty})
class Empty:
    number: int = modal.parameter()

    @modal.method()
    def first(self): ...


@app.cls()
class Without:
    number: int = modal.parameter()

    @modal.method()
    def first(self): ...


@app.local_entrypoint()
def main(files: int, kib: int, rounds: int) -> None:
    took = {"commit of everything": [fill.remote(files, kib)], **commits.remote(rounds)}
    for number in range(rounds):
        for name, kind in (("full", Full), ("empty", Empty), ("none", Without)):
            call = kind(number=number).first.remote
            took.setdefault(f"start {name}", []).append(timed(call))
    print("FIGURES", json.dumps(took))
"""


def measure(folder: Path, files: int, kib: int, rounds: int) -> dict[str, list[float]]:
    program = folder / "bench_volumes.py"
    program.write_text(PROGRAM)
    words = ["--files", str(files), "--kib", str(kib), "--rounds", str(rounds)]
    done = subprocess.run(
        [*COMMAND, "--state", str(folder / "state"), "modal", "run", str(program), *words],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures = next(line for line in done.stdout.splitlines() if line.startswith("FIGURES"))
    took: dict[str, list[float]] = json.loads(figures.removeprefix("FIGURES"))
    return took


def table(took: dict[str, list[float]], files: int, kib: int, rounds: int) -> str:
    words = {
        "start none": "first call of a container without a volume",
        "start empty": "first call of a container with an empty volume",
        "start full": "first call of a container with that volume",
        "commit of everything": "the commit that made it, nothing open",
        "commit": "commit of one small file, nothing open",
        "commit, a file open": "commit of one small file, another one open",
        "reload": "reload",
    }
    lines = [
        "# Volumes",
        "",
        f"`python bench/local_volumes.py --files {files} --kib {kib} --rounds {rounds}`: a volume of",
        f"{files} files and {files * kib / 1024 / 1024:.1f} GiB; medians (and spread) in milliseconds.",
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end of the run.",
        "",
        "| what | ms |",
        "|---|---|",
    ]
    lines += [f"| {text} | {spread(took[name])} |" for name, text in words.items()]
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--kib", type=int, default=100, help="size of each file")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mk-bench-") as folder:
        took = measure(Path(folder), chosen.files, chosen.kib, chosen.rounds)
    text = table(took, chosen.files, chosen.kib, chosen.rounds)
    print(text)
    if chosen.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
