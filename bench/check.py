"""How fast `modalkit check` is: a thousand Modal files, and one file over the start of Python.

    python bench/check.py            prints the figures
    python bench/check.py --write    also writes bench/results/check_speed.md

The thousand files are written from the failing and passing examples of the rules, each padded with ordinary
code to about 100 lines, so that every rule has something to do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from modalkit.check import all_rules
from modalkit.check.examples import example_of

RESULTS = Path(__file__).parent / "results" / "check_speed.md"
FILES = 1000
ROUNDS = 5
PADDING = '''

def helper_{n}(values: list[float], scale: float = 1.0) -> dict[str, float]:
    """Ordinary code of the kind that stands beside Modal's."""
    total = 0.0
    for index, value in enumerate(values):
        if value < 0:
            raise ValueError(f"value {{index}} is negative: {{value!r}}")
        total += value * scale
    names = {{"total": total, "mean": total / max(len(values), 1)}}
    return {{key: round(value, 3) for key, value in names.items()}}
'''


def write_files(folder: Path) -> int:
    """Write the files; returns their lines."""
    examples = [example for rule in all_rules() if (example := example_of(rule))]
    texts = [text for one in examples for text in (one.failing, one.passing)]
    texts = [text for text in texts if "def run(:" not in text]
    lines = 0
    for number in range(FILES):
        text = texts[number % len(texts)] + "".join(PADDING.format(n=n) for n in range(7))
        (folder / f"app_{number:04}.py").write_text(text)
        lines += text.count("\n")
    return lines


def seconds(*argv: str) -> tuple[float, float]:
    """Return the wall and the processor time of a command, each the least of several rounds."""
    walls, processors = [], []
    for _ in range(ROUNDS):
        before, started = os.times(), time.perf_counter()
        subprocess.run(argv, capture_output=True, check=False)
        walls.append(time.perf_counter() - started)
        after = os.times()
        spent = after.children_user + after.children_system
        processors.append(spent - before.children_user - before.children_system)
    return min(walls), min(processors)


def main() -> None:
    check = [sys.executable, "-c", "from modalkit.cli import main; main()", "check", "--static"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = write_files(folder)
        thousand = seconds(*check, name)
        one = seconds(*check, str(folder / "app_0000.py"))
    bare = seconds(sys.executable, "-c", "pass")
    load = os.getloadavg()[0]
    over = (one[0] - bare[0], one[1] - bare[1])
    rows = [
        (f"{FILES:,} files of {lines / FILES:.0f} lines, --static", thousand, "5 s"),
        ("one file, --static", one, ""),
        ("Python alone", bare, ""),
        ("one file over Python alone", over, "0.3 s"),
    ]
    table = "\n".join(
        f"| {what} | {t[0]:.2f} s | {t[1]:.2f} s | {goal} |" for what, t, goal in rows
    )
    text = (
        f"# How fast the check is\n\nWritten by `python bench/check.py --write` on {datetime.now(UTC).date()}: "
        f"least of {ROUNDS} runs, {os.cpu_count()} shared cores, load average {load:.1f}. Wall times are "
        "provisional while the machine is shared; processor times say what a free core would take.\n\n"
        f"| what | wall | processor | goal |\n|---|---|---|---|\n{table}\n"
    )
    print(text)
    if "--write" in sys.argv:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
