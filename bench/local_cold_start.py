"""Cold start of a local container against a bare `import modal`, interleaved in one run.

    python bench/local_cold_start.py [--rounds 20] [--write]

Per round: a fresh interpreter that imports modal, a forked container and one started afresh (a
variable that the C library reads at its start keeps it from being forked), each timed to the first
line of the user's file; then `modalkit local true` and a container's memory.
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

APP = """
import time
BEGAN = time.time()
import os, modal
app = modal.App("cold")

def look():
    pss = [line for line in open("/proc/self/smaps_rollup") if line.startswith("Pss:")]
    return BEGAN, int(pss[0].split()[1])

@app.function(scaledown_window=2)
def forked():
    return look()

@app.function(scaledown_window=2, secrets=[modal.Secret.from_dict({"MALLOC_ARENA_MAX": "8"})])
def afresh():
    return look()

@app.local_entrypoint()
def main(rounds: int):
    import subprocess, sys
    forked.remote()
    afresh.remote()
    for _ in range(rounds):
        time.sleep(4)  # both containers end, their exit included
        asked = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import modal"], check=True)
        print("import", (time.perf_counter() - asked) * 1000, 0)
        for name, function in (("forked", forked), ("afresh", afresh)):
            asked = time.time()
            began, pss = function.remote()
            print(name, (began - asked) * 1000, pss / 1024)
"""
COMMAND = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]


def cold_starts(folder: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    (folder / "cold.py").write_text(APP)
    words = ["--state", str(folder / "state"), "modal", "run", str(folder / "cold.py")]
    words += ["--rounds", str(rounds)]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    found: dict[str, list[tuple[float, float]]] = {"import": [], "forked": [], "afresh": []}
    for line in done.stdout.splitlines():
        name, _, rest = line.partition(" ")
        if name in found:
            milliseconds, mebibytes = map(float, rest.split())
            found[name].append((milliseconds, mebibytes))
    return found


def local_true(folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run([*COMMAND, "--state", str(folder / "true"), "true"], check=True)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        found = cold_starts(Path(name), arguments.rounds)
        trues = [local_true(Path(name)) for _ in range(5)]
    lines = [
        "# Cold start of a local container",
        "",
        "| what | p50 ms | min | max | PSS MiB |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, values in found.items():
        times = [milliseconds for milliseconds, _ in values]
        memory = statistics.median(mebibytes for _, mebibytes in values)
        row = f"{statistics.median(times):.0f} | {min(times):.0f} | {max(times):.0f} | {memory:.1f}"
        lines.append(f"| {name} | {row} |")
    lines.append(
        f"| `modalkit local true` | {statistics.median(trues):.0f} | {min(trues):.0f} | {max(trues):.0f} | |"
    )
    medians = {name: statistics.median(ms for ms, _ in found[name]) for name in found}
    lines += [
        "",
        "| over `import modal`, p50 ms | must | aim | measured |",
        "|---|--:|--:|--:|",
        *(
            f"| {name} | +150 | below 0 | {medians[name] - medians['import']:+.0f} |"
            for name in ("forked", "afresh")
        ),
        "",
        f"{arguments.rounds} rounds, {os.cpu_count()} cores, load {load:.1f} at the start.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        (Path(__file__).parent / "results" / "local_cold_start.md").write_text(text)


if __name__ == "__main__":
    main()
