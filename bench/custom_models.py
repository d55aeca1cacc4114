"""Processor time of a request to a custom model: modalkit beside a server by hand and other frameworks.

Every server has one worker process and runs the same model code, from one environment that
`scripts/custom_models_env.py` makes. What is measured is the processor time of the server's processes, all
of them, divided by the requests they answered, so that a busy machine disturbs it little; requests a
second are given beside it.

    ~/.cache/modalkit/custom-models-env/bin/python bench/custom_models.py [--write] [--rounds 3]
        [--seconds 4] [--only modalkit,starlette] [--workloads noop,one,batched,embed,stream]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent
SERVERS = HERE / "custom_models_servers"
RESULTS = HERE / "results" / "custom_models.md"
sys.path.insert(0, str(SERVERS))

from bodies import NOOP, ROW, texts  # noqa: E402 - the servers' own module

WORKLOADS = {
    "noop": ("typed no-op, 1 KB JSON", 64),
    "one": ("small MLP, one by one", 64),
    "batched": ("small MLP, batches of 64", 64),
    "embed": ("MiniLM embeddings, batches", 32),
    "stream": ("SSE, 64 chunks, no model", 16),
}
FRAMEWORKS = ("starlette", "fastapi", "litserve", "bentoml", "ray", "modalkit")
# Ray's own Python, in which everything else is the other environment's.
RAY = Path(sys.prefix).with_name("custom-models-ray") / "bin" / "python"
_TICKS = os.sysconf("SC_CLK_TCK")


def bodies(workload: str, framework: str) -> list[bytes]:
    """The requests that go round; BentoML's batched routes take lists."""
    if workload == "noop":
        given: list[object] = [NOOP]
    elif workload == "embed":
        given = [{"text": text} for text in texts()]
        if framework == "bentoml":
            given = [{"text": [one["text"]]} for one in given]
    elif workload == "stream":
        given = [{"token": "word"}]
    else:
        listed = framework == "bentoml" and workload == "batched"
        given = [{"features": [ROW["features"]] if listed else ROW["features"]}]
    return [json.dumps(one, separators=(",", ":")).encode() for one in given]


def command(framework: str, workload: str, port: int) -> tuple[list[str], dict[str, str]]:
    """How a server is started, and its environment."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{HERE.parent / 'src'}:{SERVERS}",
        "OMP_NUM_THREADS": "1",
    }
    if framework in {"starlette", "fastapi"}:
        return [sys.executable, "by_starlette.py", framework, workload, str(port)], environment
    if framework == "bentoml":
        environment |= {
            "WORKLOAD": workload,
            "BENTOML_DO_NOT_TRACK": "true",
            "BENTOML_HOME": "/tmp/bento",
        }
        tool = str(Path(sys.executable).parent / "bentoml")
        argv = [tool, "serve", "by_bentoml:Service", "--port", str(port), "--host", "127.0.0.1"]
        return argv, environment
    if framework == "ray":
        environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
    python = str(RAY) if framework == "ray" else sys.executable
    return [python, f"by_{framework}.py", workload, str(port)], environment


class Server:
    """One framework's server for one workload, in a process group of its own."""

    def __init__(self, framework: str, workload: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        argv, environment = command(framework, workload, self.port)
        self.process = subprocess.Popen(
            argv,
            cwd=SERVERS,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if framework == "modalkit" else subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        family = self.family()
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def family(self) -> dict[int, list[str]]:
        """The server's process and all below it: their fields of /proc by id."""
        every = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                every[int(folder.name)] = (folder / "stat").read_text().rpartition(")")[2].split()
        found = {self.process.pid}
        while more := {pid for pid, fields in every.items() if int(fields[1]) in found} - found:
            found |= more
        return {pid: every[pid] for pid in found if pid in every}

    def cpu_s(self) -> float:
        """Processor time of all its processes, ended children included."""
        return sum(sum(map(int, fields[11:15])) for fields in self.family().values()) / _TICKS


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it is answered; no more than bytes are looked at."""

    def __init__(self, requests: list[bytes], first: int) -> None:
        self.requests, self.next = requests, first
        self.answered = self.failed = 0
        self.stopped = False
        self.seen = b""
        self.sent_at, self.took = 0.0, []
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.seen = b""
        self.sent_at = time.perf_counter()
        self.transport.write(self.requests[self.next % len(self.requests)])
        self.next += 1

    def data_received(self, data: bytes) -> None:
        self.seen += data
        if not self.is_whole():
            return
        if self.seen.startswith(b"HTTP/1.1 200"):
            self.answered += 1
        else:
            self.failed += 1
        self.took.append(time.perf_counter() - self.sent_at)
        if not self.ready.done():
            self.ready.set_result(None)
        if not self.stopped:
            self.ask()

    def is_whole(self) -> bool:
        end = self.seen.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self.seen[:end].lower()
        at = head.find(b"content-length: ")
        if at < 0:
            return self.seen.endswith(b"0\r\n\r\n")
        return len(self.seen) - end - 4 >= int(head[at + 16 :].split(b"\r\n", 1)[0])

    def connection_lost(self, _: Exception | None) -> None:
        if not self.stopped:
            self.failed += 1
        if not self.ready.done():
            self.ready.set_result(None)


def as_request(body: bytes) -> bytes:
    return (
        b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n" % len(body)
    ) + body


async def until_it_answers(server: Server, request: bytes, patience_s: float = 90) -> None:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if server.process.poll() is not None:
            break
        try:
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: Client([request], 0), "127.0.0.1", server.port
            )
            client.stopped = True
            await asyncio.wait_for(client.ready, 30)
            if client.answered:
                return
        except (OSError, TimeoutError):
            pass
        await asyncio.sleep(0.3)
    sys.exit(f"{server.process.args} did not answer.")


async def load(
    server: Server, requests: list[bytes], clients: int, seconds: float
) -> dict[str, float]:
    """Keep so many clients busy; what a request took."""
    loop = asyncio.get_running_loop()
    lines = [
        (
            await loop.create_connection(
                lambda at=at: Client(requests, 7 * at), "127.0.0.1", server.port
            )
        )[1]
        for at in range(clients)
    ]
    await asyncio.sleep(min(1.0, seconds / 3))
    before = sum(line.answered for line in lines)
    marks = [len(line.took) for line in lines]
    cpu, began = server.cpu_s(), time.perf_counter()
    await asyncio.sleep(seconds)
    cpu, passed = server.cpu_s() - cpu, time.perf_counter() - began
    answered = sum(line.answered for line in lines) - before
    took = sorted(t for line, mark in zip(lines, marks, strict=True) for t in line.took[mark:])
    failed = sum(line.failed for line in lines)
    for line in lines:
        line.stopped = True
        line.transport.close()
    return {
        "cpu_ms": 1000 * cpu / max(answered, 1),
        "per_s": answered / passed,
        "p50_ms": 1000 * took[len(took) // 2] if took else 0.0,
        "p99_ms": 1000 * took[int(0.99 * len(took))] if took else 0.0,
        "failed": failed,
    }


def measured(framework: str, workload: str, seconds: float) -> dict[str, float]:
    requests = [as_request(body) for body in bodies(workload, framework)]
    with Server(framework, workload) as server:

        async def scenario() -> dict[str, float]:
            await until_it_answers(server, requests[0])
            return await load(server, requests, WORKLOADS[workload][1], seconds)

        return asyncio.run(scenario())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", default=",".join(FRAMEWORKS))
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    flags = parser.parse_args()
    frameworks, workloads = flags.only.split(","), flags.workloads.split(",")
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    load_before = os.getloadavg()[0]
    for turn in range(flags.rounds):
        for workload in workloads:
            for framework in frameworks if turn % 2 == 0 else reversed(frameworks):
                one = measured(framework, workload, flags.seconds)
                found.setdefault((workload, framework), []).append(one)
                print(
                    f"{turn + 1}/{flags.rounds} {workload:8} {framework:10} "
                    + "  ".join(f"{k} {v:.3g}" for k, v in one.items()),
                    flush=True,
                )
    text = table(found, frameworks, workloads, flags, load_before)
    print(text)
    if flags.write:
        RESULTS.write_text(text, "utf-8")


def table(found, frameworks, workloads, flags, load_before) -> str:
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"

    def cell(workload: str, framework: str) -> str:
        ones = found[workload, framework]
        cpu, per_s = (statistics.median(one[key] for one in ones) for key in ("cpu_ms", "per_s"))
        failed = sum(one["failed"] for one in ones)
        return f"{cpu:.3g} ({per_s:.0f}/s)" + (f", {failed:.0f} failed" if failed else "")

    lines = [
        "# Custom models: processor time of a request",
        "",
        (
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}; load average {load_before:.1f} before,"
            f" {os.getloadavg()[0]:.1f} after. The load generator shares the machine."
        ),
        (
            f"CPU ms a request of all the server's processes (requests a second), medians of {flags.rounds}"
            f" rounds of {flags.seconds:g} s."
        ),
        "",
        f"    python bench/custom_models.py {' '.join(sys.argv[1:])}",
        "",
        "| workload (clients) | " + " | ".join(frameworks) + " |",
        "|---" * (len(frameworks) + 1) + "|",
    ]
    for workload in workloads:
        name, clients = WORKLOADS[workload]
        cells = " | ".join(cell(workload, framework) for framework in frameworks)
        lines.append(f"| {name} ({clients}) | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
