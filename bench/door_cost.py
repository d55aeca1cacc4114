"""Processor time of the door alone: for a request it lets in, and for a piece of an answer.

No server and no engine: a bare ASGI app answers with so many pieces, with and without the door in
front. Processor time is measured, not wall-clock time, so a busy machine shows little in it.

    python bench/door_cost.py [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

from modalkit import BearerKeys, Endpoint
from modalkit.engines.client_routes import VLLM_ROUTES
from modalkit.runtime.door import guarded
from modalkit.runtime.door.door import InnerKeys
from modalkit.runtime.keys import KeyRing

RESULTS = Path(__file__).parent / "results" / "door_cost.md"
PIECE = b'data: {"choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'
HEADERS = [
    (b"host", b"127.0.0.1:8000"),
    (b"authorization", b"Bearer key-of-a-client"),
    (b"content-type", b"application/json"),
    (b"content-length", b"120"),
    (b"user-agent", b"OpenAI/Python 2.8.0"),
    (b"accept", b"application/json"),
    (b"x-stainless-lang", b"python"),
]


def answering(pieces: int):
    """An app that sends so many pieces."""

    async def app(_, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(pieces):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


async def spent_us(app, requests: int) -> float:
    """Microseconds of processor time for a request."""

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        pass

    started = time.process_time()
    for _ in range(requests):
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "query_string": b"",
            "headers": HEADERS,
        }
        await app(scope, receive, send)
    return 1e6 * (time.process_time() - started) / requests


def measured(log: str) -> tuple[float, float]:
    """What the door adds to a request, and to each piece of it, in microseconds."""
    rules = Endpoint(kind="server", auth=BearerKeys(), rate_limit_per_minute=10**6, access_log=log)
    ring = KeyRing.of(["key-of-a-client", "another", "a-third"])

    def added(pieces: int) -> float:
        app = answering(pieces)
        door = guarded(app, rules, VLLM_ROUTES, keys=ring, inner=InnerKeys("engine", "admin"))
        with contextlib.redirect_stderr(io.StringIO()):
            rounds = [
                asyncio.run(spent_us(door, 300)) - asyncio.run(spent_us(app, 300))
                for _ in range(15)
            ]
        return statistics.median(rounds)

    short, long = added(0), added(1000)
    return short, (long - short) / 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    flags = parser.parse_args()
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    lines = [
        "# What the door costs",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}, load average {os.getloadavg()[0]:.1f}.",
        "Processor time, medians of 15. `python bench/door_cost.py --write`",
        "",
        "| access log | a request let in, us | a piece of its answer, us |",
        "|---|--:|--:|",
    ]
    for log in ("off", "requests"):
        request, piece = measured(log)
        lines.append(f"| {log} | {request:.0f} | {piece:.2f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if flags.write:
        RESULTS.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
