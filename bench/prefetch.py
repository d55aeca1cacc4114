"""Prefetching against ``snapshot_download``, and what twenty kills cost.

    python bench/prefetch.py [--files 40] [--mib 100] [--rounds 3] [--kills 20] [--write]

A stand-in hub on this machine serves the files from the page cache (``tests/hub``), in a process of its
own. Each run is a fresh process that fetches everything into an empty folder; the two take turns, so that
a busy machine slows both. ``snapshot_download`` does not verify what it fetched; prefetching does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "prefetch.md"

HUB = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from urllib.request import urlopen
from stand_in_hub import stand_in_hub
with stand_in_hub() as hub:
    folder = Path(sys.argv[2])
    names = sorted(path.name for path in folder.iterdir())
    weight_map = {f"layer.{number}": name for number, name in enumerate(names)}
    files = {"config.json": {}, "model.safetensors.index.json": {"weight_map": weight_map}}
    hub.add("org/model", files | {name: folder / name for name in names})
    urlopen(f"{hub.url}/api/models/org/model").read()  # hashes the files: not the hub's work each time
    print(hub.url, flush=True)
    for line in sys.stdin:
        hub.rate = json.loads(line)["rate"]
        print(json.dumps({"sent": hub.sent}), flush=True)
        hub.sent = 0
"""
PREFETCH = """
import sys
from pathlib import Path
from modalkit.prefetch.fill import fill
from modalkit.prefetch.hub_source import HubSource
from modalkit.prefetch.wanted import Wanted
for _ in fill(Path(sys.argv[1]), Wanted(model="org/model"), lambda: HubSource("org/model", "main")):
    pass
"""
SNAPSHOT = """
import sys
from huggingface_hub import snapshot_download
snapshot_download("org/model", cache_dir=sys.argv[1])
"""
FIGURES = """
import json, resource, time
from pathlib import Path
started = time.perf_counter()
{code}
took = time.perf_counter() - started
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({{"s": took, "cpu_s": usage.ru_utime + usage.ru_stime, "mib": usage.ru_maxrss / 1024}}))
"""
APP = """
import modal
from modalkit import Echo, ModelService, WeightCache, serve

app = modal.App("second")

@serve(app)
class Notes(ModelService):
    model, engine, api = "acme/notes", Echo(), None
    weights = WeightCache("notes", source="./notes")
"""
WHAT = {"prefetch": PREFETCH, "snapshot_download": SNAPSHOT}


class Hub:
    """The stand-in hub in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HUB, str(ROOT / "tests" / "hub"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self._process.stdout.readline().strip()

    def sent(self, rate: int = 0) -> int:
        """Return the bytes of large files sent since the last time, and set the rate from now on."""
        self._process.stdin.write(json.dumps({"rate": rate}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())["sent"]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def environment(hub: Hub, home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def fetch(what: str, hub: Hub, folder: Path) -> dict[str, float]:
    target = folder / what
    done = subprocess.run(
        [sys.executable, "-c", FIGURES.format(code=WHAT[what]), str(target)],
        env=environment(hub, folder / "home"),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    shutil.rmtree(target)
    return json.loads(done.stdout.splitlines()[-1])


def kills(hub: Hub, folder: Path, count: int, total: int, rate: int) -> dict[str, float]:
    """Kill a run after so many random numbers of bytes, then let it end; what was sent beyond the files.

    The last twentieth is left out: a run that ends before its kill would be none.
    """
    target = folder / "killed"
    words = [sys.executable, "-c", PREFETCH, str(target)]
    at = sorted(random.uniform(0, 0.95 * total) for _ in range(count))
    hub.sent(rate=rate)
    sent = 0
    for until in at:
        process = subprocess.Popen(words, env=environment(hub, folder / "home"))
        while sent < until and process.poll() is None:
            time.sleep(0.02)
            sent += hub.sent(rate=rate)
        if process.poll() is not None:
            msg = f"A run ended with {process.returncode} after {sent:,} bytes, before it was killed at {until:,.0f}."
            raise RuntimeError(msg)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(words, env=environment(hub, folder / "home"), check=True)
    sent += hub.sent()
    shutil.rmtree(target)
    return {"killed": len(at), "beyond": sent - total}


def second_runs(folder: Path, count: int) -> list[dict[str, float]]:
    """Time ``modalkit prefetch`` where everything is there, against a local Modal that is up."""
    program = str(Path(sys.executable).parent / "modalkit")
    (folder / "notes").mkdir()
    (folder / "notes" / "config.json").write_text("{}")
    (folder / "notes" / "model.safetensors").write_bytes(bytes(1000))
    (folder / "app.py").write_text(APP)
    local = [program, "local", "-q", "--state", str(folder / "state")]
    subprocess.run([*local, "up", "--detach"], check=True, stdout=subprocess.DEVNULL)
    told = subprocess.run([*local, "env"], check=True, capture_output=True, text=True).stdout
    words = (line.removeprefix("export ").partition("=") for line in told.splitlines())
    variables = {**os.environ, **{name: value for name, _, value in words}}
    took = []
    try:
        for _ in range(count + 1):
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(
                [program, "prefetch", "app.py"],
                cwd=folder,
                env=variables,
                check=True,
                capture_output=True,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            took.append({"s": time.perf_counter() - started, "cpu_s": cpu})
    finally:
        subprocess.run([*local, "down"], check=False, stdout=subprocess.DEVNULL)
    return took[1:]  # the first one fetched


def report(
    took: dict[str, list[dict[str, float]]],
    ended: dict[str, float],
    second: list[dict[str, float]],
    chosen: argparse.Namespace,
) -> str:
    total = chosen.files * chosen.mib << 20
    ratio = median(took["snapshot_download"], "s") / median(took["prefetch"], "s")
    lines = [
        "# Prefetch",
        "",
        f"`python bench/prefetch.py {' '.join(sys.argv[1:])}`:",
        (
            f"{total / 1e9:.1f} GB in {chosen.files} files from a hub on this machine to {chosen.folder or 'its disk'}, "
            "medians of fresh processes in turn."
        ),
        f"{os.cpu_count()} cores shared with the hub, load {os.getloadavg()[0]:.1f} at the end of the run: provisional.",
        "",
        "| what | s (spread) | GB/s | CPU s | peak memory MiB |",
        "|---|---|---|---|---|",
        *(row(what, runs, total) for what, runs in took.items()),
        "",
        f"prefetch against snapshot_download: **{ratio:.2f}x**.",
        "",
        killed(ended, total),
        "",
        (
            f"A second run of `modalkit prefetch` against a local Modal that is up: {median(second, 's'):.2f} s, of "
            f"which {median(second, 'cpu_s'):.2f} s of processor time "
            f"(`import modal` alone takes {modal_import():.2f} s of it on this machine now)."
        ),
    ]
    return "\n".join(lines) + "\n"


def median(runs: list[dict[str, float]], field: str) -> float:
    return statistics.median(run[field] for run in runs)


def row(what: str, runs: list[dict[str, float]], total: int) -> str:
    """One way to fetch, with what it verified on the way."""
    seconds = [run["s"] for run in runs]
    verified = "SHA-256 of every file included" if what == "prefetch" else "nothing verified"
    return (
        f"| {what}, {verified} | {median(runs, 's'):.1f} ({min(seconds):.1f}-{max(seconds):.1f}) "
        f"| {total / 1e9 / median(runs, 's'):.2f} | {median(runs, 'cpu_s'):.1f} | {median(runs, 'mib'):.0f} |"
    )


def killed(ended: dict[str, float], total: int) -> str:
    """What kills on the way cost."""
    beyond = ended["beyond"] / 2**20
    return (
        f"Killed {ended['killed']:.0f} times (SIGKILL) while {total / 1e9:.1f} GB arrived, then run to its end: every "
        f"file verified; the hub sent {beyond:.1f} MiB more than the files hold, "
        f"{beyond / max(ended['killed'], 1):.2f} MiB a kill (the most that can be under way: "
        "8 connections with an unwritten block of 1 MiB and what lies in their sockets)."
    )


def modal_import() -> float:
    code = "import time; started = time.process_time(); import modal; print(time.process_time() - started)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--mib", type=int, default=100, help="size of each file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--folder", help="where files go; a memory disk takes the disk out of it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mk-bench-", dir=chosen.folder) as name:
        folder = Path(name)
        (folder / "files").mkdir()
        for number in range(chosen.files):
            path = folder / "files" / f"model-{number:05}.safetensors"
            path.write_bytes(os.urandom(chosen.mib << 20))
        hub = Hub(folder / "files")
        took: dict[str, list[dict[str, float]]] = {what: [] for what in WHAT}
        for _ in range(chosen.rounds):
            for what in WHAT:
                took[what].append(fetch(what, hub, folder))
        total = chosen.files * chosen.mib << 20
        ended = kills(hub, folder, chosen.kills, total, rate=20 << 20)
        hub.close()
        second = second_runs(folder, 5)
    text = report(took, ended, second, chosen)
    print(text)
    if chosen.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
