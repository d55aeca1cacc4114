"""What modalkit adds to an engine's own start: the same engine bare, and through the host of a container.

    python bench/cold_start.py                  # print; the Echo engine
    python bench/cold_start.py --write          # write bench/results/cold_start.md too

Bare: the engine's argv started by hand and its readiness route asked every 10 ms. Through modalkit:
`EngineHost.start`, in a process that has imported it, as a container has by then: the guard, forwarding,
the wait and one warm-up request. One of each by turns, so that both meet the same machine. Beside it what
importing a service's file costs a container that has loaded Modal's own code already, as CPU time too,
which a busy machine does not stretch. What only requests need is imported while the engine starts, which
takes longer: it is no part of the start.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

from modalkit.declare.cold_start import ColdStart
from modalkit.engines import Echo, Launch
from modalkit.runtime.engine_host import EngineHost

RESULTS = Path(__file__).parent / "results" / "cold_start.md"
LAUNCH = Launch(model="echo", served_name="echo", gpu_count=0)
IMPORTS = """
import time, modal._container_entrypoint
wall, cpu = time.perf_counter(), time.process_time()
import modalkit.compile, modalkit.engines
import modalkit.runtime.engine_host
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def bare_s(port: int) -> float:
    """Seconds from starting the engine by hand to its readiness."""
    argv = Echo().argv(LAUNCH.model_copy(update={"port": port}))
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *argv[1:]], stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError):
                connection = HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("GET", "/health")
                if connection.getresponse().status == HTTPStatus.OK:
                    return time.perf_counter() - started
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def hosted_s() -> float:
    """Seconds of the same engine's start through modalkit."""
    with contextlib.redirect_stderr(io.StringIO()):
        started = time.perf_counter()
        host = EngineHost(Echo(), LAUNCH, 600, cold_start=ColdStart(warm_up=1))
        host.start()
        taken = time.perf_counter() - started
        host.stop_process()
    return taken


def one_of_each(number: int) -> tuple[float, float]:
    """Both times, each way first by turns: what starts second finds files that were just read."""
    if number % 2:
        return bare_s(23_400 + number), hosted_s()
    hosted = hosted_s()
    return bare_s(23_400 + number), hosted


def imports_s() -> tuple[float, float]:
    """Wall and CPU seconds of modalkit's own imports in a container."""
    words = [sys.executable, "-c", IMPORTS]
    wall, cpu = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return float(wall), float(cpu)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    pairs = [one_of_each(number) for number in range(given.rounds + 1)][1:]  # the first reads files
    imports = [imports_s() for _ in range(given.rounds)]
    bare, hosted = (statistics.median(column) for column in zip(*pairs, strict=True))
    added = statistics.median(own - plain for plain, own in pairs)
    wall, cpu = (statistics.median(column) for column in zip(*imports, strict=True))
    lines = [
        "# What modalkit adds to a start",
        "",
        (
            f"`python bench/cold_start.py --rounds {given.rounds}`, {datetime.now(UTC):%Y-%m-%d}, "
            f"{len(os.sched_getaffinity(0))} cores, load average {os.getloadavg()[0]:.1f}; medians."
        ),
        "",
        "| what | seconds |",
        "|---|---:|",
        f"| the Echo engine, bare, to ready | {bare:.3f} |",
        f"| through `EngineHost.start`, one real request included | {hosted:.3f} |",
        f"| added, of one round | {added:.3f} |",
        f"| importing modalkit in a container, wall | {wall:.3f} |",
        f"| the same, CPU time | {cpu:.3f} |",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    if given.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
