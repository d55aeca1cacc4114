"""A custom service at full load for minutes: is every answer its request's, and is memory flat?

Clients ask a batched route, a plain one, two that pack by length and isolate errors, a stream and a
continuous batch of one server. Some leave before their answer, some send what does not fit, one item in a hundred fails. Each
answer is held to what its own request must get; the server's memory is read from /proc.

    python bench/custom_soak.py --minutes 60 [--clients 64] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import platform
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from pydantic import BaseModel

from modalkit import Batch, Endpoint, LiveBatch, ModelService, endpoint
from modalkit.declare.routes import Route
from modalkit.errors import RequestError
from modalkit.runtime.custom_host import CustomHost
from modalkit.runtime.custom_server import CustomServer

RESULTS = Path(__file__).parent / "results" / "custom_soak.md"
_BAD_ITEM = 100  # one number in so many fails
_LEAVES, _UNFIT = 0.02, 0.02  # shares of requests
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Ask(BaseModel):
    number: int
    padding: str = ""


class Told(BaseModel):
    number: int
    doubled: int


class Soaked(ModelService):
    """Doubles numbers in every way there is."""

    @endpoint("/told", batch=Batch(64))
    def told(self, asked: list[Ask]) -> list[Told | Exception]:
        return [
            RequestError(f"not {one.number}", 409)
            if one.number % _BAD_ITEM == 0
            else answer(one.number)
            for one in asked
        ]

    @endpoint("/found", batch=Batch(64, by=lambda one: one.number % 3, length="padding", pad=0.5))
    def found(self, asked: list[Ask]) -> list[Told]:
        return answers(asked)

    @endpoint("/padded", batch=Batch(64, length="padding", max_tokens=4000, pad="auto"))
    def padded(self, asked: list[Ask]) -> list[Told]:
        longest = max(len(one.padding) for one in asked)
        hashlib.sha256(b"x" * longest * len(asked) * 100).digest()  # a cost by the padded length
        return answers(asked)

    @endpoint("/alone")
    def alone(self, ask: Ask) -> Told:
        if ask.number % _BAD_ITEM == 0:
            msg = f"not {ask.number}"
            raise RequestError(msg, 409)
        return answer(ask.number)

    @endpoint("/stream")
    def stream(self, ask: Ask) -> Iterator[int]:
        yield from range(ask.number, ask.number + 20)

    @endpoint("/live", batch=Batch(8))
    def live(self, batch: LiveBatch[Ask, int]) -> Iterator[None]:
        while True:
            for item in batch.joined:
                item.state = 0
            for item in batch:
                item.send(item.request.number + item.state)
                item.state += 1
                if item.state == 20:
                    item.finish()
            yield


def answers(asked: list[Ask]) -> list[Told]:
    """All of them, or an error of the whole batch for one bad item."""
    bad = [one.number for one in asked if one.number % _BAD_ITEM == 0]
    if bad:
        msg = f"not {bad[0]}"
        raise RequestError(msg, 409)
    return [answer(one.number) for one in asked]


def answer(number: int) -> Told:
    return Told(number=number, doubled=2 * number)


class Tally:
    """What the clients saw."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.took_s: list[float] = []

    def note(self, outcome: str, *, is_right: bool, about: str) -> None:
        self.outcomes[outcome] += 1
        if not is_right and len(self.wrong) < 20:
            self.wrong.append(about)


async def client(session: aiohttp.ClientSession, until: float, seed: int, tally: Tally) -> None:
    """Ask until the time is over; look at each answer."""
    dice = random.Random(seed)
    while time.monotonic() < until:
        number = dice.randrange(1 << 40)
        path = dice.choice(("/told", "/found", "/padded", "/alone", "/stream", "/live"))
        body: object = {"number": number, "padding": "x" * dice.randrange(200)}
        fate = dice.random()
        if fate < _UNFIT:
            body = {"number": "none"}
        try:
            leaving = _UNFIT <= fate < _UNFIT + _LEAVES
            limit = aiohttp.ClientTimeout(total=dice.random() * 0.02 if leaving else 120)
            async with session.post(path, json=body, timeout=limit) as got:
                text = await got.text()
        except TimeoutError:
            tally.note("left", is_right=leaving, about=f"{path} {number}: no answer in 120 s")
            continue
        except aiohttp.ClientError as error:
            tally.note("broken", is_right=False, about=f"{path} {number}: {error!r}")
            continue
        outcome, is_right = judged(path, number, got.status, text, unfit=fate < _UNFIT)
        tally.note(outcome, is_right=is_right, about=f"{path} {number}: {got.status} {text[:200]}")


def judged(path: str, number: int, status: int, text: str, *, unfit: bool) -> tuple[str, bool]:
    """What an answer is, and whether it is the right one."""
    if unfit:
        return "unfit", status == 422
    if path in {"/stream", "/live"}:
        pieces = [int(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
        whole = pieces == list(range(number, number + 20)) and "event: end" in text
        return "stream", status == 200 and whole
    if number % _BAD_ITEM == 0:
        return "failing item", status == 409 and json.loads(text)["detail"] == f"not {number}"
    right = {"number": number, "doubled": 2 * number}
    return "answer", status == 200 and json.loads(text) == right


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MIB


async def watch_memory(pid: int, until: float, seen: list[float]) -> None:
    while time.monotonic() < until:
        await asyncio.sleep(5)
        seen.append(rss_mib(pid))
        print(f"{until - time.monotonic():6.0f} s left  {seen[-1]:.1f} MiB", flush=True)


async def soak(port: int, pid: int, minutes: float, clients: int) -> tuple[Tally, list[float]]:
    tally, memory = Tally(), []
    until = time.monotonic() + 60 * minutes
    line = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=line) as session:
        await asyncio.gather(
            watch_memory(pid, until, memory),
            *(client(session, until, seed, tally) for seed in range(clients)),
        )
    return tally, memory


def serve(port: int) -> None:
    routes = {name: one for name, one in vars(Soaked).items() if isinstance(one, Route)}
    rules = Endpoint(kind="server", public=True, port=port, access_log="off")
    CustomServer(CustomHost(Soaked(), routes), rules).start()
    time.sleep(10**9)


def wait_for(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit("The server did not start.")


def report(tally: Tally, memory: list[float], minutes: float, clients: int) -> str:
    quarter = max(1, len(memory) // 4)
    second, last = memory[quarter : 2 * quarter], memory[-quarter:]
    grown = sum(last) / len(last) - sum(second or last) / len(second or last)
    counted = ", ".join(f"{count} {name}" for name, count in sorted(tally.outcomes.items()))
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    return (
        "# Custom models: correctness under load\n\n"
        f"    python bench/custom_soak.py --minutes {minutes:g} --clients {clients} --write\n\n"
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}, load average {os.getloadavg()[0]:.1f}.\n\n"
        f"{sum(tally.outcomes.values())} requests in {minutes:g} minutes: {counted}.\n"
        f"**{len(tally.wrong)} lost, swapped or wrong.** Memory of the server: "
        f"{memory[0]:.1f} MiB after 5 s, {memory[-1]:.1f} MiB at the end; the last quarter is "
        f"{grown:+.1f} MiB from the second.\n" + "".join(f"\n- {one}" for one in tally.wrong)
    )


def main() -> None:
    """Soak and print; exit 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.serve:
        serve(flags.serve)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, __file__, "--serve", str(port)])
    try:
        wait_for(port)
        tally, memory = asyncio.run(soak(port, server.pid, flags.minutes, flags.clients))
    finally:
        server.terminate()
        server.wait()
    text = report(tally, memory, flags.minutes, flags.clients)
    print(text)
    if flags.write:
        RESULTS.write_text(text, "utf-8")
    sys.exit(bool(tally.wrong))


if __name__ == "__main__":
    main()
