"""What images cost in the local Modal: first builds, cached ones, and containers on top.

    python bench/local_images.py [--runs 3] [--write]

Each figure is the time of one whole `modal run` of an app with one no-op function, in seconds, on a
fresh state folder, median of the runs:
  nothing     an image that asks for nothing this machine lacks: no environment is made
  package     one that installs a local wheel, first time; then again, from the build that is there
  commands    one with two RUN lines, first time; then again
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

COMMAND = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]
APP = """
import modal
image = modal.Image.debian_slim(){steps}
app = modal.App("bench", image=image)

@app.function()
def nothing() -> None:
    pass
"""


def wheel_in(folder: Path) -> Path:
    info = "small-1.0.dist-info"
    with zipfile.ZipFile(folder / "small-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("small.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"small.py,,\n{info}/METADATA,,\n{info}/RECORD,,\n")
    return folder


def seconds(app: Path, state: Path) -> float:
    started = time.perf_counter()
    subprocess.run(
        [*COMMAND, "--state", str(state), "modal", "run", "-q", str(app)],
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - started


def measure(runs: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        links = wheel_in(folder)
        images = {
            "nothing": '.pip_install("packaging")',
            "package": f'.pip_install("small", find_links="{links}", extra_options="--no-index")',
            "commands": '.run_commands("echo a > /a", "cat /a")',
        }
        for run in range(runs):
            for kind, steps in images.items():
                app = folder / f"{kind}.py"
                app.write_text(APP.format(steps=steps))
                state = folder / f"{kind}-{run}"
                found.setdefault(f"{kind}, first", []).append(seconds(app, state))
                found.setdefault(f"{kind}, again", []).append(seconds(app, state))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="into bench/results")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    lines = ["# Images in the local Modal", "", f"Load when started: {load:.1f}.", ""]
    lines += ["| image | median s | min s |", "|---|---|---|"]
    for kind, times in measure(options.runs).items():
        lines.append(f"| {kind} | {statistics.median(times):.2f} | {min(times):.2f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        Path(__file__).parent.joinpath("results", "local_images.md").write_text(text)


if __name__ == "__main__":
    main()
