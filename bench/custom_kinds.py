"""The same custom service as kind="web" and as kind="server", through the local Modal.

Through Modal's ASGI runtime every request and every chunk of a stream is an RPC; behind Modal's low-latency
server the service's own HTTP server answers. The file is the Modal app too.

    python bench/custom_kinds.py [--seconds 4] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import modal

from modalkit import Batch, Endpoint, ModelService, Scaling, endpoint, serve

RESULTS = Path(__file__).parent / "results" / "custom_kinds.md"
CHUNKS = 64
CLIENTS = {"noop": 64, "batched": 64, "stream": 16}

app = modal.App("custom-kinds")


class Doing:
    """The routes of both."""

    @endpoint("/noop")
    async def noop(self, text: str) -> str:
        return text

    @endpoint("/batched", batch=Batch(64))
    def batched(self, numbers: list[int]) -> list[int]:
        return [2 * number for number in numbers]

    @endpoint("/stream")
    async def stream(self, word: str) -> AsyncIterator[str]:
        for _ in range(CHUNKS):
            yield word
            await asyncio.sleep(0)


@serve(app)
class Web(Doing, ModelService):
    api = Endpoint(public=True, access_log="off")
    scaling = Scaling(max_containers=1, min_containers=1, concurrency=128)


@serve(app)
class Server(Doing, ModelService):
    api = Endpoint(kind="server", public=True, access_log="off")
    scaling = Scaling(max_containers=1, min_containers=1)


async def load(url: str, route: str, seconds: float) -> tuple[float, float, int]:
    """Answers a second, median milliseconds, and how many were not 200."""
    import aiohttp

    body = {"noop": {"text": "x" * 900}, "batched": 21, "stream": {"word": "word"}}[route]
    took: list[float] = []
    failed = 0
    until = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        while (began := time.perf_counter()) < until:
            async with session.post(f"{url}/{route}", json=body) as got:
                await got.read()
                failed += got.status != 200
            took.append(time.perf_counter() - began)

    limit = aiohttp.TCPConnector(limit=0, ssl=False)
    async with aiohttp.ClientSession(connector=limit) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS[route])))
    return len(took) / seconds, 1000 * sorted(took)[len(took) // 2], failed


async def until_up(url: str) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            try:
                async with session.get(f"{url}/health", ssl=False) as got:
                    if got.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.3)
    sys.exit(f"{url} did not answer.")


async def measured(urls: dict[str, str], seconds: float) -> list[str]:
    lines = []
    for url in urls.values():
        await until_up(url)
    for route, clients in CLIENTS.items():
        cells = []
        for kind, url in urls.items():
            await load(url, route, 1)
            per_s, p50, failed = await load(url, route, seconds)
            cells.append(f"{per_s:.0f} | {p50:.1f}" + (f" ({failed} failed)" if failed else ""))
            print(route, kind, cells[-1], flush=True)
        lines.append(f"| {route}, {clients} clients | " + " | ".join(cells) + " |")
    return lines


def addresses(served: subprocess.Popen[str]) -> dict[str, str]:
    """The URLs that `modal serve` prints."""
    found: list[str] = []
    assert served.stdout is not None
    for line in served.stdout:
        found += re.findall(r"(?:->|──) (http://\S+)", line)
        if len(found) == 2:  # in the order of the file
            threading.Thread(target=served.stdout.read, daemon=True).start()
            return dict(zip(("Web", "Server"), found, strict=True))
    sys.exit("The app was not served.")


def main() -> None:
    """Serve, load and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    flags = parser.parse_args()
    state = tempfile.mkdtemp(prefix="modalkit-kinds-")
    tool = str(Path(sys.executable).parent / "modalkit")
    environment = {**os.environ, "MODALKIT_LOCAL_STATE": state, "COLUMNS": "400"}
    argv = [tool, "local", "--state", state, "modal", "serve", str(Path(__file__))]
    served = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    before = os.getloadavg()[0]
    try:
        lines = asyncio.run(measured(addresses(served), flags.seconds))
    finally:
        served.terminate()
        served.wait()
        shutil.rmtree(state, ignore_errors=True)
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    text = "\n".join([
        '# A custom service as `kind="web"` and as `kind="server"`, through the local Modal',
        "",
        "    python bench/custom_kinds.py --write",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}, load average {before:.1f} before. One container each;",
        "the load generator shares the machine.",
        "",
        "| | web, a second | p50 ms | server, a second | p50 ms |",
        "|---|--:|--:|--:|--:|",
        *lines,
        "",
    ])  # fmt: skip
    print(text)
    if flags.write:
        RESULTS.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
