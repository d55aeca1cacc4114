"""What `modalkit plan` takes on a file with five services, over `import modal`.

    python bench/plan_startup.py [--rounds 9] [--write]

Fresh interpreters, one after the other: `import modal` alone, and the whole command on
`tests/cli/apps/shop.py` (five services, two plain functions) with and without a traffic. Least and median
of the rounds, by the wall and by processor time; the goal is under 0.5 s over `import modal`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__)
SHOP = HERE.parents[1] / "tests" / "cli" / "apps" / "shop.py"
RESULTS = HERE.parent / "results" / "plan_startup.md"
COMMAND = "from modalkit.cli import main; main()"


class Took(NamedTuple):
    """Seconds of one run."""

    wall_s: float
    cpu_s: float


def once(arguments: Sequence[str]) -> Took:
    """Run Python with these arguments and wait for it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    cases = {
        "`import modal`": ["-c", "import modal"],
        "`modalkit plan shop.py`": ["-c", COMMAND, "plan", str(SHOP)],
        "`... --json`": ["-c", COMMAND, "plan", str(SHOP), "--json"],
        "`... --requests-per-day 2000`": [
            *("-c", COMMAND, "plan", str(SHOP)),
            *("--requests-per-day", "2000"),
        ],
    }
    took: dict[str, list[Took]] = {name: [] for name in cases}
    for arguments in cases.values():
        once(arguments)  # byte code and file cache
    for _ in range(options.rounds):
        for name, arguments in cases.items():
            took[name].append(once(arguments))
    text = page(took, options.rounds)
    print(text)
    if options.write:
        RESULTS.write_text(text, "utf-8")


def page(took: dict[str, list[Took]], rounds: int) -> str:
    base = took["`import modal`"]
    rows = [
        f"| {name} | {least(runs, 0):.3f} | {middle(runs, 0):.3f} | {least(runs, 1):.3f} "
        f"| {middle(runs, 0) - middle(base, 0):+.3f} | {least(runs, 1) - least(base, 1):+.3f} |"
        for name, runs in took.items()
    ]
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    where = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    load = f"{rounds} rounds; load average at the end {os.getloadavg()[0]:.1f}"
    return "\n".join(
        [
            "# `modalkit plan` on five services",
            "",
            "    python bench/plan_startup.py --write",
            "",
            f"{now}, {where}, {load}.",
            "",
            "| | least s | median s | least CPU s | over `import modal`, median s | least CPU s |",
            "|---|--:|--:|--:|--:|--:|",
            *rows,
            "",
        ]
    )


def least(runs: Sequence[Took], part: int) -> float:
    return min(run[part] for run in runs)


def middle(runs: Sequence[Took], part: int) -> float:
    return statistics.median(run[part] for run in runs)


if __name__ == "__main__":
    main()
