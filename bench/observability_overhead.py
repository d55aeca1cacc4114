"""What metrics and request ids cost a request, with traces off: processor time and throughput.

One custom service on its own server, which is asked by a client process; two servers take turns,
one with everything off and one with metrics and request ids on (the log is off in both). Beside it
a count by modalkit's registry and one by prometheus_client.

    python bench/observability_overhead.py [--rounds 9] [--requests 4000] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import resource
import socket
import statistics
import time
import timeit
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "observability_overhead.md"
CLIENTS = 16
BODY = json.dumps({"text": "word " * 200}).encode()
MODES = ("off", "on", "on, and the log")


def app_of(mode: str):
    """The service's app, with its door, in one of the modes; one mode a process."""
    from modalkit import Endpoint, endpoint
    from modalkit.runtime.custom_host import CustomHost
    from modalkit.runtime.door import guarded, visit
    from modalkit.runtime.observe.watch import Watch

    class Lengths:
        def load(self) -> None: ...
        def wake(self) -> None: ...
        def warm_up(self) -> None: ...
        def unload(self) -> None: ...

        @endpoint("/length")
        async def length(self, text: str) -> int:
            return len(text)

    if mode == "off":  # there is no switch for ids: here they are one constant, made by nobody
        visit.new_request_id = lambda: b"0"
        visit.set_request_id = lambda _: None
    rules = Endpoint(
        public=True,
        metrics="closed" if mode == "off" else "open",
        access_log="requests" if "log" in mode else "off",
    )
    watch = Watch("Lengths", rules)
    host = CustomHost(Lengths(), {"length": vars(Lengths)["length"]}, watch=watch)
    return guarded(host.app(rules), rules, watch=watch)


def serve(mode: str, listening: socket.socket, pipe) -> None:
    """Serve one service; tell the processor time of this process, or of its app alone, when asked."""
    import threading

    import uvicorn

    app = app_of(mode)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    config = uvicorn.Config(app, log_level="error", lifespan="off", access_log=False)
    threading.Thread(target=lambda: uvicorn.Server(config).run([listening]), daemon=True).start()
    while asked := pipe.recv():
        if asked == "app":
            pipe.send(asyncio.run(app_alone_s(app, 500)))
            continue
        used = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send(used.ru_utime + used.ru_stime)


async def app_alone_s(app, count: int) -> float:
    """Seconds of processor time of so many requests to an app, with no server around it."""

    async def receive():
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message) -> None:
        assert message.get("status", 200) == 200, message

    headers = [(b"host", b"x"), (b"content-length", str(len(BODY)).encode())]
    scope = {"type": "http", "method": "POST", "path": "/length", "query_string": b""}
    started = time.thread_time()
    for _ in range(count):
        await app({**scope, "headers": headers}, receive, send)
    return time.thread_time() - started


async def ask(port: int, count: int) -> float:
    """Send so many requests over a few connections; the seconds they took."""
    head = f"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count // CLIENTS):
            writer.write(head + BODY)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            await reader.readexactly(4)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return time.perf_counter() - started


class Server:
    """A server process in one of the modes."""

    def __init__(self, mode: str) -> None:
        listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = listening.getsockname()[1]
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(mode, listening, theirs), daemon=True)
        self._process.start()
        asyncio.run(ask(self.port, 10 * CLIENTS))

    def measure(self, count: int) -> tuple[float, float]:
        """Microseconds of processor time a request, and requests a second."""
        before = self._told("process")
        took = asyncio.run(ask(self.port, count))
        return 1e6 * (self._told("process") - before) / count, count / took

    def app_us(self) -> float:
        """Microseconds of processor time a request, of the app alone."""
        return 1e6 * self._told("app") / 500

    def stop(self) -> None:
        """End the process."""
        self._pipe.send("")
        self._process.join()

    def _told(self, what: str) -> float:
        self._pipe.send(what)
        return self._pipe.recv()


def count_us() -> tuple[float, float]:
    """Microseconds of one labelled count and one observation: ours, and prometheus_client's."""
    from prometheus_client import CollectorRegistry, Counter, Histogram

    from modalkit.runtime.observe.registry import Registry

    ours = Registry("x_")
    counter, histogram = ours.counter("a", "A.", ("r", "s")), ours.histogram("b", "B.", (1, 2), "r")
    theirs = CollectorRegistry()
    count = Counter("a", "A.", ("r", "s"), registry=theirs)
    observed = Histogram("b", "B.", ("r",), buckets=(1, 2), registry=theirs)

    def of_ours() -> None:
        counter("/length", "200").value += 1
        histogram("/length").observe(0.5)

    def of_theirs() -> None:
        count.labels("/length", "200").inc()
        observed.labels("/length").observe(0.5)

    best = [
        min(timeit.repeat(one, number=20_000, repeat=7)) / 20_000 for one in (of_ours, of_theirs)
    ]
    return 1e6 * best[0], 1e6 * best[1]


Figures = dict[str, list[tuple[float, float, float]]]


def measured(rounds: int, requests: int) -> Figures:
    """Each mode's figures, round by round; the modes take turns."""
    servers = {mode: Server(mode) for mode in MODES}
    found: Figures = {mode: [] for mode in MODES}
    try:
        for index in range(rounds):
            order = MODES if index % 2 == 0 else tuple(reversed(MODES))
            for mode in order:
                cpu_us, rate = servers[mode].measure(requests)
                found[mode].append((cpu_us, rate, 0.0))
            for _ in range(10):
                for mode in order:
                    at = found[mode][-1]
                    alone_us = min(at[2] or float("inf"), servers[mode].app_us())
                    found[mode][-1] = (*at[:2], alone_us)
    finally:
        for server in servers.values():
            server.stop()
    return found


def report(found: Figures) -> str:
    """The page."""
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    ours, theirs = count_us()
    base = [statistics.median(one[at] for one in found["off"]) for at in range(3)]
    lines = [
        "# What observability costs a request",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}, load average {os.getloadavg()[0]:.1f}.",
        f"A typed no-op with 1 KB of JSON, {CLIENTS} clients; {len(found['off'])} rounds in which the",
        "servers take turns, medians. Traces are off. `python bench/observability_overhead.py --write`",
        "",
        (
            "| metrics and request ids | the server's CPU, us | the app's alone, us | added, us "
            "| added to the server's CPU | requests a second |"
        ),
        "|---|--:|--:|--:|--:|--:|",
    ]
    for mode, figures in found.items():
        cpu, rate, alone = (statistics.median(one[at] for one in figures) for at in range(3))
        added = statistics.median(
            one[2] - off[2] for one, off in zip(figures, found["off"], strict=True)
        )
        lines.append(
            f"| {mode} | {cpu:.1f} | {alone:.1f} | {added:.1f} | {100 * added / base[0]:.1f} % "
            f"| {rate:,.0f} |"
        )
    lines += [
        "",
        (
            "*Added* is the difference of the app's own processor time (each round's least of ten), small beside "
            "what a server's varies by."
        ),
        "",
        (
            f"A labelled count and an observation: {ours:.2f} us by modalkit's registry, {theirs:.2f} us "
            "by prometheus_client."
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    flags = parser.parse_args()
    text = report(measured(flags.rounds, flags.requests))
    print(text)
    if flags.write:
        RESULTS.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
