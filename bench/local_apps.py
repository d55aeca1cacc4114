"""What many deployed apps cost: `modal run` beside 200 of them against `modal run` beside none.

    python bench/local_apps.py [--apps 200] [--rounds 7] [--write]

Both state folders are used in turn within one run, so that a busy machine slows both alike. A plane
is started for every command: what is measured is a person's `modalkit local modal run hello.py`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = [sys.executable, "-c", "from modalkit.cli import main; main()", "local", "-q"]
RESULTS = Path(__file__).parent / "results" / "local_apps.md"
HELLO = """
import modal
app = modal.App("hello")

@app.function()
def hello():
    return 1
"""
MANY = """
import sys
import modal

plain, timed = modal.App("plain"), modal.App("timed")

@plain.function()
def work(): ...

@timed.function(schedule=modal.Cron("0 0 1 1 *"))
def rarely(): ...

with modal.enable_output():
    for number in range(int(sys.argv[1])):
        (timed if number % 10 == 0 else plain).deploy(name=f"app-{number}")
"""


def local(state: Path, *words: str) -> float:
    """Run a command against a local Modal of a state folder and return its seconds."""
    started = time.perf_counter()
    subprocess.run([*COMMAND, "--state", str(state), *words], check=True, capture_output=True)
    return time.perf_counter() - started


def seconds_up(state: Path) -> float:
    """Start `modalkit local up` and return the seconds until it prints its variables."""
    started = time.perf_counter()
    command = [*COMMAND, "--state", str(state), "up"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        took = time.perf_counter() - started
        process.terminate()
    return took


def measure(folder: Path, apps: int, rounds: int) -> list[tuple[str, list[float], list[float]]]:
    (folder / "hello.py").write_text(HELLO)
    (folder / "many.py").write_text(MANY)
    empty, full = folder / "empty", folder / "full"
    hello = ("modal", "run", str(folder / "hello.py"))
    local(empty, *hello)
    local(full, "python", str(folder / "many.py"), str(apps))
    local(full, *hello)
    jobs = {
        "`modal run hello.py`": lambda state: local(state, *hello),
        "`modal app list`": lambda state: local(state, "modal", "app", "list"),
        "`modalkit local up` ready": seconds_up,
    }
    figures: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            figures[name][0].append(job(empty))
            figures[name][1].append(job(full))
    return [(name, without, beside) for name, (without, beside) in figures.items()]


def table(rows: list[tuple[str, list[float], list[float]]], apps: int, rounds: int) -> str:
    lines = [
        "# Many deployed apps",
        "",
        f"`python bench/local_apps.py --apps {apps} --rounds {rounds}`: medians (and spread) in",
        "milliseconds; every tenth app has a schedule and is brought back by `up`.",
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end of the run.",
        "",
        f"| what | no app | {apps} apps | must | ratio |",
        "|---|---|---|---|---|",
    ]
    for name, without, beside in rows:
        ratio = statistics.median(beside) / statistics.median(without)
        must = "1.20" if name.startswith("`modal run") else ""
        lines.append(f"| {name} | {spread(without)} | {spread(beside)} | {must} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def spread(seconds: list[float]) -> str:
    in_ms = [round(1000 * value) for value in seconds]
    return f"{statistics.median(in_ms):.0f} ({min(in_ms)}-{max(in_ms)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--apps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mk-bench-") as folder:
        rows = measure(Path(folder), chosen.apps, chosen.rounds)
    text = table(rows, chosen.apps, chosen.rounds)
    print(text)
    if chosen.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
