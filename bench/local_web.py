"""Web endpoints of the local Modal: requests and streams a second, and what the gateway adds.

    python bench/local_web.py [--seconds 6] [--rounds 3] [--write]

This file is the Modal app too: it is deployed to a local Modal started for the run. The load comes
from a process of its own over keep-alive connections, each sending its next request when the last
answer is complete. Three comparisons:

  asgi_app   typed no-op requests at 64 clients and streams of 64 SSE chunks at 16 clients, on one
             and on two containers with `@modal.concurrent(max_inputs=64)`; beside them the CPU time
             that containers and plane spend on each. A container's is spent in Modal's own code and
             the app: 1 s over it is the most one core can answer, whatever a plane does
  the app    the same app under uvicorn, without Modal, for scale
  @app.server  latency through its URL against the server's own port inside its container
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import modal
from pydantic import BaseModel

HERE = Path(__file__)
RESULTS = HERE.parent / "results" / "local_web.md"
PROTOTYPE = {"typed": 151, "stream": 21}
TICKS = os.sysconf("SC_CLK_TCK")
CHUNKS = 64
BODY = json.dumps({"text": "hello", "times": 1}).encode()
REQUESTS = {
    "typed": b"POST /typed HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
    "stream": b"GET /stream HTTP/1.1\r\nHost: bench\r\n\r\n",
}
CLIENTS = {"typed": 64, "stream": 16}

app = modal.App("bench-web")


class Note(BaseModel):
    text: str
    times: int


def web_app():
    """Return the app that every row serves: a typed route that does nothing, and a stream."""
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    web = FastAPI()

    @web.post("/typed")
    async def typed(note: Note) -> Note:
        return note

    @web.get("/stream")
    async def stream() -> StreamingResponse:
        async def events():
            for number in range(CHUNKS):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0)  # each event is a message of its own

        return StreamingResponse(events(), media_type="text/event-stream")

    return web


@app.function(min_containers=1, max_containers=1)
@modal.concurrent(max_inputs=64)
@modal.asgi_app()
def one():
    return web_app()


@app.function(min_containers=2, max_containers=2)
@modal.concurrent(max_inputs=64)
@modal.asgi_app()
def two():
    return web_app()


@app.server(port=8000, unauthenticated=True, min_containers=1, startup_timeout=60)
class Server:
    @modal.enter()
    def start(self) -> None:
        subprocess.Popen([sys.executable, str(HERE), "--serve", "8000"])


class Client(asyncio.Protocol):
    """One keep-alive connection that asks again as soon as it is answered."""

    def __init__(self, request: bytes, results: Results) -> None:
        self.request, self.results = request, results
        self.buffer, self.begun, self.first = b"", 0.0, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.buffer, self.first, self.begun = b"", 0.0, time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.first = self.first or time.perf_counter()
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if found and self.complete(head.lower(), body):
            now = time.perf_counter()
            ok = head.startswith(b"HTTP/1.1 200")
            self.results.add(now, now - self.begun, self.first - self.begun, ok)
            self.ask()

    @staticmethod
    def complete(head: bytes, body: bytes) -> bool:
        if b"chunked" in head:
            return body.endswith(b"\r\n0\r\n\r\n") or body == b"0\r\n\r\n"
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        return len(body) >= int(length)

    def connection_lost(self, _error: Exception | None) -> None:
        self.results.lost += 1


class Results:
    """What clients saw between two moments."""

    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end
        self.took: list[float] = []
        self.first: list[float] = []
        self.failed = self.lost = 0

    def add(self, now: float, took: float, first: float, ok: bool) -> None:
        if self.start <= now < self.end:
            self.took.append(took * 1000)
            self.first.append(first * 1000)
            self.failed += not ok


async def generate(url: str, kind: str, clients: int, seconds: float) -> dict[str, float]:
    """Load a URL; the first second is not counted."""
    place, now = urlsplit(url), time.perf_counter()
    results = Results(now + 1, now + 1 + seconds)
    loop = asyncio.get_running_loop()
    for _ in range(clients):
        await loop.create_connection(
            lambda: Client(REQUESTS[kind], results), place.hostname, place.port
        )
    await asyncio.sleep(results.end - time.perf_counter())
    lost, count = results.lost, len(results.took)
    return {
        "rate": count / seconds,
        "count": count,
        "p50": statistics.median(results.took),
        "p99": statistics.quantiles(results.took, n=100)[98],
        "first_p50": statistics.median(results.first),
        "failed": results.failed + lost,
    }


def load(url: str, kind: str, clients: int, seconds: float, inside: int = 0) -> dict[str, float]:
    """Run the load in a process of its own, in the network of the process ``inside``."""
    enter = ["nsenter", "-t", str(inside), "-n"] if inside else []
    enter += ["-U", "--preserve-credentials"] if inside and os.getuid() else []
    words = ["--load", url, kind, str(clients), str(seconds)]
    done = subprocess.run(
        [*enter, sys.executable, str(HERE), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def below(pid: int) -> list[int]:
    """Return a process's descendants."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += [int(child), *below(int(child))]
    return found


def cpu_s(pids: list[int]) -> float:
    """Return the CPU seconds that living processes have used."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


@contextmanager
def local_modal() -> Iterator[tuple[int, dict[str, str]]]:
    """Run a local Modal and yield its process and the variables that lead to it."""
    state = tempfile.mkdtemp(prefix="bench-web-")
    command = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]
    process = subprocess.Popen(
        [*command, "--state", state, "up"], stdout=subprocess.PIPE, text=True
    )
    exports: dict[str, str] = {}
    while "MODALKIT_PROXY_SECRET" not in exports:
        name, _, value = process.stdout.readline().removeprefix("export ").strip().partition("=")
        exports[name] = value
    try:
        yield process.pid, exports
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(state, ignore_errors=True)


def urls(exports: dict[str, str]) -> dict[str, str]:
    """Deploy this file and return where its functions answer."""
    env = {**os.environ, **exports}
    subprocess.run([sys.executable, "-m", "modal", "deploy", str(HERE)], env=env, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    asked = (
        "import json, modal; name = 'bench-web'; print(json.dumps({"
        "'one': modal.Function.from_name(name, 'one').get_web_url(), "
        "'two': modal.Function.from_name(name, 'two').get_web_url(), "
        "'server': modal.Server.from_name(name, 'Server').get_url()}))"
    )
    done = subprocess.run([sys.executable, "-c", asked], env=env, check=True, capture_output=True)
    return json.loads(done.stdout)


def wait_for(url: str, kind: str) -> None:
    """Ask until a URL answers."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            if not load(url, kind, 1, 0.2)["failed"]:
                return
        except SystemExit:
            time.sleep(0.2)
    msg = f"{url} never answered"
    raise SystemExit(msg)


def uvicorn_row(seconds: float) -> dict[str, dict[str, float]]:
    """Load the app under uvicorn, without Modal."""
    process = subprocess.Popen([sys.executable, str(HERE), "--serve", "8099"])
    url = "http://127.0.0.1:8099"
    try:
        wait_for(url, "typed")
        return {kind: measured(url, kind, [process.pid], [], seconds) for kind in REQUESTS}
    finally:
        process.kill()
        process.wait()


def measured(
    url: str, kind: str, containers: list[int], plane: list[int], seconds: float
) -> dict[str, float]:
    """Load a URL once; CPU milliseconds an answer beside the figures."""
    before = [cpu_s(containers), cpu_s(plane)]
    figures = load(url, kind, CLIENTS[kind], seconds)
    used = [cpu_s(containers) - before[0], cpu_s(plane) - before[1]]
    answered = figures["rate"] * (seconds + 1)  # the uncounted second costs too
    figures["container_ms"], figures["plane_ms"] = (1000 * one / answered for one in used)
    return figures


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def run(rounds: int, seconds: float) -> dict[str, dict[str, dict[str, float]]]:
    """Measure everything in turns; medians of the rounds."""
    rows: dict[str, dict[str, list[dict[str, float]]]] = {}

    def note(name: str, kind: str, figures: dict[str, float]) -> None:
        rows.setdefault(name, {}).setdefault(kind, []).append(figures)

    with local_modal() as (plane, exports):
        at = urls(exports)
        for name, kind in (("one", "typed"), ("two", "typed"), ("server", "typed")):
            wait_for(at[name], kind)
        own_net = Path("/proc/self/ns/net").readlink()
        inside = [p for p in below(plane) if Path(f"/proc/{p}/ns/net").readlink() != own_net]
        for _ in range(rounds):
            for name in ("one", "two"):
                for kind in REQUESTS:
                    containers = below(plane)
                    note(name, kind, measured(at[name], kind, containers, [plane], seconds))
            for kind in REQUESTS:
                note("gateway", kind, load(at["server"], kind, 1, seconds / 2))
                direct = "http://127.0.0.1:8000"
                note(
                    "direct", kind, load(direct, kind, 1, seconds / 2, inside[-1] if inside else 0)
                )
    for _ in range(rounds):
        for kind, figures in uvicorn_row(seconds / 2).items():
            note("uvicorn", kind, figures)
    return {
        name: {kind: medians(all_) for kind, all_ in kinds.items()} for name, kinds in rows.items()
    }


def report(rows: dict[str, dict[str, dict[str, float]]], rounds: int) -> str:
    """Put the figures into a page."""
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        "# Web endpoints of the local Modal",
        "",
        "    python bench/local_web.py --write",
        "",
        (
            f"{now}, {os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}, "
            f"modal {modal.__version__}. Medians of {rounds} rounds; load average at the end "
            f"{os.getloadavg()[0]:.1f}. The load generator shares the machine."
        ),
        "",
        "## `asgi_app`, `@modal.concurrent(max_inputs=64)`",
        "",
        (
            "| | containers | a second | times the prototype | p50 ms | p99 ms | first byte p50 ms | "
            "container CPU ms each | plane CPU ms each | failed |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    titles = {"typed": "typed no-op, 64 clients", "stream": "stream of 64 events, 16 clients"}
    for kind, title in titles.items():
        for name, containers in (("one", "1"), ("two", "2"), ("uvicorn", "no Modal")):
            row = rows[name][kind]
            times = f"{row['rate'] / PROTOTYPE[kind]:.1f}x"
            lines.append(
                f"| {title} | {containers} | {row['rate']:.0f} | {times} | {row['p50']:.1f} | "
                f"{row['p99']:.1f} | {row['first_p50']:.1f} | {row['container_ms']:.2f} | "
                f"{row['plane_ms']:.2f} | {row['failed']:.0f} |"
            )
    lines += ["", "## `@app.server`, one client, through its URL and at its own port", ""]
    lines += ["| | URL p50 ms | port p50 ms | added ms | URL first byte ms | port first byte ms |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    for kind, title in (("typed", "typed no-op"), ("stream", "stream of 64 events")):
        through, direct = rows["gateway"][kind], rows["direct"][kind]
        lines.append(
            f"| {title} | {through['p50']:.2f} | {direct['p50']:.2f} | "
            f"{through['p50'] - direct['p50']:+.2f} | {through['first_p50']:.2f} | "
            f"{direct['first_p50']:.2f} |"
        )
    lines += ["", *limits(rows)]
    return "\n".join(lines) + "\n"


def limits(rows: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Hold the figures against what they must be."""
    added, first = (
        rows["gateway"]["typed"][key] - rows["direct"]["typed"][key] for key in ("p50", "first_p50")
    )
    times = {kind: rows["two"][kind]["rate"] / PROTOTYPE[kind] for kind in ("typed", "stream")}
    # A container's CPU goes into Modal's entrypoint (`modal._runtime`, synchronicity, grpclib) and, little
    # of it, into the app: with every core for that alone, no plane could let more through.
    most = {
        kind: 1000 * (os.cpu_count() or 1) / rows["two"][kind]["container_ms"] for kind in times
    }
    floor = {
        kind: f"the container code's own floor: {rate:.0f}, {rate / PROTOTYPE[kind]:.1f}x"
        for kind, rate in most.items()
    }
    return [
        "| | must | aim | measured |",
        "|---|---|---|---|",
        f"| `asgi_app`, requests a second over the prototype | 3x | {floor['typed']} | {times['typed']:.1f}x |",
        f"| `asgi_app`, streams a second over the prototype | 3x | {floor['stream']} | {times['stream']:.1f}x |",
        f"| `@app.server`, added p50 | +1.5 ms | +0.5 ms | {added:+.2f} ms |",
        f"| `@app.server`, first byte | not delayed | | {first:+.2f} ms |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--load", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.load:
        url, kind, clients, seconds = chosen.load
        print(json.dumps(asyncio.run(generate(url, kind, int(clients), float(seconds)))))
    elif chosen.serve:
        import uvicorn

        uvicorn.run(web_app(), host="127.0.0.1", port=chosen.serve, log_level="warning")
    else:
        text = report(run(chosen.rounds, chosen.seconds), chosen.rounds)
        print(text)
        if chosen.write:
            RESULTS.write_text(text)


if __name__ == "__main__":
    main()
