"""What a call costs on the local Modal: round trips, map throughput, CPU by process, memory.

    python bench/local_calls.py            # print the figures
    python bench/local_calls.py --write    # and put them in bench/results/local_calls.md

Everything runs through the real client and the real container entrypoint, in one run, on one
machine. CPU is what /proc says each process used (user and system), so it does not depend on how
the machine's cores were shared; wall-clock figures do, and the load is written beside them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "local_calls.md"
TICKS = os.sysconf("SC_CLK_TCK")
APP = textwrap.dedent(
    """
    import modal

    app = modal.App("bench-calls")


    @app.function(min_containers=2, max_containers=2)
    def nothing(number: int) -> None: ...


    @app.function(min_containers=1, max_containers=1)
    def one(number: int) -> None: ...
    """
)
MANY = textwrap.dedent(
    """
    import modal

    app = modal.App("bench-many")


    @app.function(min_containers=50, max_containers=50)
    def kept(number: int) -> None: ...
    """
)
HELLO = textwrap.dedent(
    """
    import modal

    app = modal.App("bench-hello")


    @app.function()
    def hello() -> None: ...


    @app.local_entrypoint()
    def main() -> None:
        hello.remote()
    """
)


@dataclass(frozen=True)
class Plane:
    """A running ``modalkit local up``."""

    process: subprocess.Popen[str]
    exports: dict[str, str]

    def run(self, *words: str, cwd: str) -> None:
        """Run a command against it."""
        env = {**os.environ, **self.exports}
        subprocess.run(words, env=env, cwd=cwd, check=True, capture_output=True)

    def modal(self, *words: str, cwd: str) -> None:
        """Run the modal CLI against it."""
        self.run(sys.executable, "-m", "modal", *words, cwd=cwd)


@contextmanager
def plane(state: str) -> Iterator[Plane]:
    """Start a plane and end it."""
    command = "from modalkit.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "local", "--state", state, "up"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    exports: dict[str, str] = {}
    assert process.stdout is not None
    for line in process.stdout:
        name, _, value = line.removeprefix("export ").strip().partition("=")
        exports[name] = value
        if name == "MODALKIT_PROXY_SECRET":
            break
    try:
        yield Plane(process, exports)
    finally:
        process.terminate()
        process.wait(60)


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    """Return a process's resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def below(pid: int) -> list[int]:
    """Return a process's descendants."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *below(int(child))]
    return found


def wait_for_containers(pid: int, count: int) -> None:
    """Wait until a plane has at least so many processes and no new ones for three seconds."""
    deadline, before, still = time.monotonic() + 300, -1, 0
    while still < 3 and time.monotonic() < deadline:
        time.sleep(1)
        now = len(below(pid))
        still = still + 1 if now == before and now >= count else 0
        before = now


@dataclass
class Cpu:
    """CPU of the three sides since it was made."""

    plane: int

    def __post_init__(self) -> None:
        self.before = self._now()

    def _now(self) -> dict[str, float]:
        containers = sum(cpu_s(pid) for pid in below(self.plane))
        return {"client": cpu_s(os.getpid()), "plane": cpu_s(self.plane), "containers": containers}

    def per_input_ms(self, inputs: int) -> dict[str, float]:
        """Return the milliseconds each side used for one input."""
        now = self._now()
        return {side: (now[side] - self.before[side]) * 1000 / inputs for side in now}


def round_trips(one, count: int) -> str:
    """Time warm calls, one after the other."""
    for _ in range(30):
        one.remote(0)
    took = []
    for number in range(count):
        started = time.perf_counter()
        one.remote(number)
        took.append((time.perf_counter() - started) * 1000)
    p50, p90 = statistics.median(took), statistics.quantiles(took, n=10)[8]
    return f"| warm `.remote()` | p50 4 ms | p50 2 ms | p50 {p50:.2f} ms, p90 {p90:.2f} ms, min {min(took):.2f} ms |"


def mapping(nothing, plane_pid: int, count: int) -> str:
    """Map a no-op over many inputs and say what each side used."""
    nothing.for_each(range(200))
    cpu, started = Cpu(plane_pid), time.perf_counter()
    nothing.for_each(range(count))
    took = time.perf_counter() - started
    used = ", ".join(f"{side} {ms:.2f}" for side, ms in cpu.per_input_ms(count).items())
    limits = "500 inputs/s, plane 0.4 ms CPU | bound by client and container"
    figures = f"{count / took:.0f} inputs/s; CPU ms an input: {used}"
    return f"| `.map` of a no-op, two containers | {limits} | {figures} |"


def memory(nothing, plane_pid: int, count: int) -> str:
    """Map over many inputs and watch the plane's memory."""
    seen = [f"start {rss_mb(plane_pid):.1f}"]
    for number, _ in enumerate(nothing.map(range(count)), 1):
        if number in {1_000, 10_000} or number % 25_000 == 0:
            seen.append(f"{number:,}: {rss_mb(plane_pid):.1f}")
    what = f"plane's memory during a `.map` of {count:,}, MB"
    return f"| {what} | flat after 10,000 | | {'; '.join(seen)} |"


def crowded(folder: str, rows: list[str]) -> None:
    """Compare `modal run` on an empty plane with one that keeps many apps and containers."""

    def runs(running: Plane) -> float:
        took = []
        for _ in range(6):
            started = time.perf_counter()
            running.modal("run", "hello.py", cwd=folder)
            took.append(time.perf_counter() - started)
        return statistics.median(took[1:])

    with plane(f"{folder}/empty") as empty:
        alone = runs(empty)
    with plane(f"{folder}/many") as many:
        many.modal("deploy", "many.py", cwd=folder)
        code = "import hello; [hello.app.deploy(name=f'app-{n}') for n in range(200)]"
        many.run(sys.executable, "-c", code, cwd=folder)
        wait_for_containers(many.process.pid, 50)
        rows.append(f"| `modal run`, empty plane | | | {alone:.2f} s |")
        among = runs(many)
        live = len(below(many.process.pid))
        more = (among / alone - 1) * 100
        rows.append(
            f"| `modal run`, 200 deployed apps, 50 live containers ({live} processes) "
            f"| +20 % | | {among:.2f} s ({more:+.0f} %) |"
        )


def calls(folder: str, rows: list[str], inputs: int, many: int) -> None:
    """Measure round trips, throughput and memory on one plane."""
    with plane(f"{folder}/state") as running:
        running.modal("deploy", "calls.py", cwd=folder)
        os.environ.update(running.exports)
        import modal

        pid = running.process.pid
        rows.append(round_trips(modal.Function.from_name("bench-calls", "one"), 500))
        nothing = modal.Function.from_name("bench-calls", "nothing")
        rows.append(mapping(nothing, pid, inputs))
        if many:
            rows.append(memory(nothing, pid, many))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--inputs", type=int, default=4_000)
    parser.add_argument("--many", type=int, default=100_000, help="inputs of the memory run")
    parser.add_argument("--only-crowd", action="store_true", help="only the 200 apps")
    parser.add_argument("--no-crowd", action="store_true", help="leave out the 200 apps")
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    rows: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mk-bench-") as folder:
        for name, source in {"calls": APP, "many": MANY, "hello": HELLO}.items():
            (Path(folder) / f"{name}.py").write_text(source)
        if not chosen.only_crowd:
            calls(folder, rows, chosen.inputs, chosen.many)
        if not chosen.no_crowd:
            crowded(folder, rows)
    report(rows, load, write=chosen.write)


def report(rows: list[str], load: float, *, write: bool) -> None:
    """Print the figures, and keep them if asked."""
    import modal

    table = "\n".join(["| what | must | aim | measured |", "|---|---|---|---|", *rows])
    print(table)
    if not write:
        return
    machine = f"modal {modal.__version__}, Python {sys.version.split()[0]}, {os.cpu_count()} cores"
    head = f"Measured {time.strftime('%Y-%m-%d')} with {machine}; load before the run {load:.2f}."
    text = RESULTS.read_text() if RESULTS.exists() else "# What a call costs\n\n<!-- figures -->\n"
    before, _, rest = text.partition("<!-- figures -->")
    _, _, after = rest.partition("<!-- end of figures -->")
    RESULTS.write_text(
        f"{before}<!-- figures -->\n{head}\n\n{table}\n<!-- end of figures -->{after or chr(10)}"
    )


if __name__ == "__main__":
    main()
