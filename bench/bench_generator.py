"""Processor time of `modalkit bench` itself: for a request, and for a token of a stream.

The server is a process of its own that writes canned bytes at once; it parses nothing but the length of
a request. What the generator can do on one core is one over its processor time.

    python bench/bench_generator.py [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

from modalkit.bench.loads import Load, Stage
from modalkit.bench.measuring import Run
from modalkit.bench.target import parse_url
from modalkit.bench.wire import Client
from modalkit.bench.workload import Fixed

RESULTS = Path(__file__).parent / "results" / "bench_generator.md"
CLIENTS, ROUNDS = 16, 5
TOKENS = 64
EVENT = b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1764000000,"model":"canned","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}\n\n'
USAGE = (
    b'data: {"choices":[],"usage":{"prompt_tokens":500,"completion_tokens":64}}\n\ndata: [DONE]\n\n'
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: "
ONE = HEAD + b'application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'
START = HEAD + b"text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b'{"text": "' + b"x" * 1000 + b'"}'


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


class Canned(asyncio.Protocol):
    """Answers every request of a known length at once, or a token at a time."""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.left = b""

    def data_received(self, data: bytes) -> None:
        self.left += data
        while (end := self.left.find(b"\r\n\r\n")) >= 0 and len(self.left) >= end + 4 + len(BODY):
            path = self.left[:20]
            self.left = self.left[end + 4 + len(BODY) :]
            if b"/stream" in path:
                self.transport.write(START)
                self.token(TOKENS)
            else:
                self.transport.write(ONE)

    def token(self, left: int) -> None:
        """A token in each turn of the event loop, so that each is a packet."""
        if left:
            self.transport.write(chunk(EVENT))
            asyncio.get_running_loop().call_soon(self.token, left - 1)
        else:
            self.transport.write(chunk(USAGE) + b"0\r\n\r\n")


def serve(port: multiprocessing.Queue) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def spent_us(url: str, path: str, requests: int) -> tuple[float, float]:
    """Microseconds of processor time for a request, and requests a second that were had."""
    target = parse_url(url, {})
    client = Client(target, 60)
    workload = Fixed(target, path, "POST", [BODY])
    stage = Stage(load=Load(concurrency=CLIENTS), requests=requests)
    began, cpu = time.perf_counter(), time.process_time()
    measured = await Run(client, workload, stage, lambda _: None).measured()
    spent = time.process_time() - cpu
    assert not [one for one in measured.answers if one.failure]
    client.close()
    return spent / requests * 1e6, requests / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    port: multiprocessing.Queue = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{port.get()}"
    rows = []
    for name, path, requests, per in (
        ("a request of 1 KB and its answer", "/one", 5000, 1),
        (f"a token of a stream of {TOKENS}", "/stream", 300, TOKENS),
    ):
        runs = [asyncio.run(spent_us(url, path, requests)) for _ in range(ROUNDS)]
        each = statistics.median(us for us, _ in runs) / per
        had = statistics.median(rate for _, rate in runs) * per
        rows.append(f"| {name} | {each:.1f} | {1e6 / each:,.0f} | {had:,.0f} |")
    server.terminate()
    text = (
        "# What the generator of `modalkit bench` costs\n\n"
        f"{CLIENTS} clients, median of {ROUNDS} runs; the server has the other core. `python bench/bench_generator.py --write`, "
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"load average {load:.1f} before.\n\n"
        "| | processor time, us | that is, a second on one core | had in this run, a second |\n|---|--:|--:|--:|\n"
        + "\n".join(rows)
        + "\n"
    )
    print(text)
    if options.write:
        RESULTS.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
