"""A soak of the local Modal: mixed calls, kills and redeploys against one `modalkit local up`.

    python bench/local_soak.py --minutes 3           # a short one
    python bench/local_soak.py --minutes 30 --write  # and put it in bench/results/local_soak.md

Clients call one of everything (``soak/client.py``) and check every answer. Meanwhile containers,
launchers, zygotes and a client are killed with SIGKILL and the app is redeployed. At the end the
clients go, the containers scale to zero, and what the plane holds is compared with what it held
before: processes, file handles, mounts, namespaces, run folders. It fails with exit code 1 if an
answer was wrong or never came, an error had no kill to explain it, or something was left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from soak.census import (
    Containers,
    Sample,
    children,
    family,
    function_of,
    holders,
    slope_per_minute,
    take,
    text,
)

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "local_soak.md"
LOCAL = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]
SAMPLE_EVERY_S, KILL_EVERY_S, DEPLOY_EVERY_S, CLIENT_KILL_EVERY_S = 5.0, 6.0, 45.0, 70.0
WARM_UP_S = 300.0
KINDS = 12
# In a short run the plane's caches are still filling.
STEADY_MINUTES, FLAT_MB_A_MINUTE = 15, 0.3
# Containers idle for 8 s, sandboxes' time-outs, and 60 s without a word from a killed client.
QUIET_S = 100.0
# What a kill may explain: calls that were under way, and requests until a new server is up.
EXPLAINS_S = {"served": 15.0, "asgi": 2.0}
TRUTHFUL = ("ended with signal 9", "ended with exit code 137")
# HTTP has no retries, and a container that dies under a request takes its answer with it.
BROKEN_REQUEST = ("502", "503", "500", "RemoteProtocolError", "ReadError", "ConnectError")
STEADY = (["calls", "spawns"], ["nested", "storage"], ["web", "sandboxes"])
VICTIMS = (
    [sys.executable, "-m", "soak.client", "calls", "spawns"],
    [sys.executable, "-m", "modal", "run", "soak/app.py::linger"],
)


@dataclass
class Soak:
    """Everything that happened so far."""

    state: Path
    plane: subprocess.Popen[str]
    exports: dict[str, str]
    began: float = field(default_factory=time.monotonic)
    calls: list[dict[str, object]] = field(default_factory=list)
    spawned: dict[str, int] = field(default_factory=dict)
    kills: list[tuple[float, str, str]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    clients: list[subprocess.Popen[str]] = field(default_factory=list)
    deploys: int = 0
    troubles: list[str] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its clients."""
        return {**os.environ, **self.exports, "SOAK_VERSION": str(self.deploys)}

    def sample(self) -> None:
        """Look at the plane, and remember its processes."""
        self.samples.append(take(self.plane.pid, self.state, self.began))
        self.seen.update(family(self.plane.pid, self.state))

    def listen(self, client: subprocess.Popen[str]) -> None:
        """Take what a client reports."""
        assert client.stdout is not None
        for line in client.stdout:
            if not line.startswith("{"):
                continue
            told = json.loads(line)
            if "spawned" in told:
                self.spawned[told["spawned"]] = told["right"]
            else:
                self.calls.append(told)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a client."""
        client = subprocess.Popen(
            command,
            cwd=HERE,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        threading.Thread(target=self.listen, args=(client,), daemon=True).start()
        self.clients.append(client)
        return client

    def kill(self, pid: int, role: str, name: str) -> None:
        """Kill a process without a warning."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.kills.append((time.time(), role, name))

    def kill_a_container(self) -> None:
        """Kill the program or the launcher of a random container; now and then a zygote."""
        found = Containers.of(self.plane.pid, self.state)
        role = random.choice(["program", "program", "launcher", "launcher", "zygote"])
        pids = {"program": found.programs, "launcher": found.launchers}.get(role)
        if pids is None:
            mine = [pid for pid in children(self.plane.pid) if not function_of(pid)]
            zygotes = [pid for pid in mine if "zygote" in text(pid, "cmdline")]
            pids = dict.fromkeys(zygotes, "")
        if pids:
            pid = random.choice(list(pids))
            self.kill(pid, role, pids[pid])

    def deploy(self) -> None:
        """Deploy the app, each time with another definition."""
        command = [sys.executable, "-m", "modal", "deploy", "soak/app.py"]
        done = subprocess.run(
            command, cwd=HERE, env=self.environment, capture_output=True, text=True, check=False
        )
        self.deploys += 1
        if done.returncode:
            self.troubles.append(f"a deploy failed: {(done.stdout + done.stderr)[-500:]}")

    def verdict(self, call: dict[str, object]) -> str:
        """Say of a call: "right", "explained" by a kill, or "lost"."""
        error, kind = str(call["error"]), str(call["kind"])
        if not error:
            return "right"
        http = kind in EXPLAINS_S
        if not any(mark in error for mark in (BROKEN_REQUEST if http else TRUTHFUL)):
            return "lost"
        after = EXPLAINS_S.get(kind, 1.0)
        started, ended = float(str(call["started"])), float(str(call["ended"]))
        hit = any(
            started - after <= at <= ended + 1.0 and self._concerns(kind, name)
            for at, role, name in self.kills
            if role in {"program", "launcher"}
        )
        return "explained" if hit else "lost"

    @staticmethod
    def _concerns(kind: str, name: str) -> bool:
        owners = {"served": "Echo", "asgi": "asgi"}
        return kind not in owners or name.startswith(owners[kind])


def start_plane(state: Path) -> Soak:
    """Start a plane on an empty state folder."""
    process = subprocess.Popen(
        [*LOCAL, "--state", str(state), "up"],
        stdout=subprocess.PIPE,
        stderr=(state.parent / "plane.log").open("w"),
        text=True,
    )
    exports: dict[str, str] = {}
    assert process.stdout is not None
    for line in process.stdout:
        name, _, value = line.removeprefix("export ").strip().partition("=")
        exports[name] = value
        if name == "MODALKIT_PROXY_SECRET":
            break
    threading.Thread(target=process.stdout.read, daemon=True).start()
    return Soak(state, process, exports)


def load(soak: Soak, seconds: float) -> None:
    """Keep clients calling, and kill and redeploy beside them."""
    for lanes in STEADY:
        soak.start(sys.executable, "-m", "soak.client", *lanes)
    victim = soak.start(*VICTIMS[0])
    due = {"sample": 0.0, "kill": 5.0, "deploy": 20.0, "client": 30.0}
    turns = 0
    while (now := time.monotonic() - soak.began) < seconds:
        if now >= due["sample"]:
            due["sample"] = now + SAMPLE_EVERY_S
            soak.sample()
            progress(soak, seconds)
        if now >= due["kill"]:
            due["kill"] = now + random.uniform(0.5, 1.5) * KILL_EVERY_S
            soak.kill_a_container()
        if now >= due["deploy"]:
            due["deploy"] = now + DEPLOY_EVERY_S
            threading.Thread(target=soak.deploy).start()
        if now >= due["client"]:
            due["client"] = now + CLIENT_KILL_EVERY_S
            turns += 1
            soak.kill(victim.pid, "client", "")
            victim.wait()
            victim = soak.start(*VICTIMS[turns % len(VICTIMS)])
        time.sleep(0.2)
    victim.kill()


def progress(soak: Soak, seconds: float) -> None:
    """Say in one line how far it is."""
    last = soak.samples[-1]
    lost = sum(soak.verdict(call) == "lost" for call in soak.calls)
    print(
        f"\r{last.at / 60:5.1f} of {seconds / 60:.0f} min  calls {len(soak.calls)}  lost {lost}  "
        f"kills {len(soak.kills)}  deploys {soak.deploys}  {last.rss_mb:.0f} MB  "
        f"{last.handles} handles  {last.processes} processes  {last.namespaces} namespaces   ",
        end="",
        flush=True,
    )


def warm_up(soak: Soak) -> Sample:
    """Deploy, call everything once, let the containers go, and see what the plane holds then."""
    soak.deploy()
    first = soak.start(sys.executable, "-m", "soak.client")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(1)
        if len({call["kind"] for call in soak.calls if not call["error"]}) == KINDS:
            break
    else:
        msg = f"Not everything could be called once: {soak.troubles} {soak.calls[-3:]}"
        raise SystemExit(msg)
    first.terminate()
    first.wait()
    soak.calls.clear()
    soak.spawned.clear()
    time.sleep(20)
    return take(soak.plane.pid, soak.state, soak.began)


def settle(soak: Soak, before: Sample) -> Sample:
    """Wait until the plane holds no more than before, or long enough."""
    for client in soak.clients:
        client.terminate()
        client.wait()
    deadline = time.monotonic() + QUIET_S
    while time.monotonic() < deadline:
        time.sleep(2)
        soak.sample()
        now = soak.samples[-1]
        if now.processes <= before.processes and now.handles <= before.handles:
            break
    return soak.samples[-1]


def spawned_results(soak: Soak) -> None:
    """Ask for the result of every spawned call, those of killed clients included."""
    code = (
        "import json, sys, modal\n"
        "for call, right in json.load(sys.stdin).items():\n"
        "    try: answer = modal.FunctionCall.from_id(call).get(timeout=60)\n"
        "    except Exception as error: answer = f'{type(error).__name__}: {error}'\n"
        "    if answer != right: print(call, 'gave', repr(answer), 'instead of', right)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(soak.spawned),
        env=soak.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if not any(m in line for m in TRUTHFUL)]
    soak.troubles += [f"spawned call {line}" for line in found]
    if done.returncode:
        soak.troubles.append(f"asking for spawned results failed: {done.stderr[-500:]}")


def compare(soak: Soak, before: Sample, after: Sample) -> None:
    """Note everything the plane holds that it did not hold before."""
    for name in ("processes", "handles", "mounts", "namespaces", "folders"):
        was, is_now = getattr(before, name), getattr(after, name)
        if is_now > was:
            soak.troubles.append(f"{name}: {is_now} at the end, {was} at the start")


def end_plane(soak: Soak) -> None:
    """End the plane and look for what it left behind."""
    soak.plane.terminate()
    if soak.plane.wait(120) != 0:
        soak.troubles.append(f"the plane ended with {soak.plane.returncode}")
    time.sleep(1)
    left = holders(soak.state, soak.plane.pid)
    if left:
        soak.troubles.append(f"processes left behind: {left}")
    if runs := list((soak.state / "run").iterdir()):
        soak.troubles.append(f"run folders left behind: {[str(run) for run in runs]}")


def report(soak: Soak, seconds: float, before: Sample, after: Sample, slope: float) -> str:
    """Write the result down."""
    verdicts = Counter((str(call["kind"]), soak.verdict(call)) for call in soak.calls)
    kinds = sorted({kind for kind, _ in verdicts})
    killed = Counter(role for _, role, _ in soak.kills)
    lines = [
        "# Soak of the local Modal",
        "",
        f"{seconds / 60:.0f} minutes, {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}. "
        f"{len(soak.calls)} calls, {soak.deploys} deploys, "
        + ", ".join(f"{count} x SIGKILL of a {role}" for role, count in sorted(killed.items()))
        + f"; {len(soak.spawned)} spawned calls asked for again at the end.",
        "",
        "An error is explained if it is truthful and a kill of its container came meanwhile; HTTP",
        "requests are the ones that nothing runs again. Anything else counts as lost.",
        "",
        "| call | right | explained by a kill | lost |",
        "|---|---|---|---|",
        *(
            f"| {kind} | {verdicts[kind, 'right']} | {verdicts[kind, 'explained']} "
            f"| {verdicts[kind, 'lost']} |"
            for kind in kinds
        ),
        "",
        "| the plane | before | most | after |",
        "|---|---|---|---|",
    ]
    for name in ("rss_mb", "handles", "processes", "mounts", "namespaces", "folders"):
        most = max(getattr(sample, name) for sample in soak.samples)
        lines.append(
            f"| {name} | {getattr(before, name):.0f} | {most:.0f} | {getattr(after, name):.0f} |"
        )
    lines += ["", f"Memory after the first minutes: {slope:+.2f} MB a minute.", ""]
    lines += (
        ["Troubles:", "", *(f"* {trouble}" for trouble in soak.troubles)]
        if soak.troubles
        else ["No trouble."]
    )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--keep", type=Path, help="write every call, kill and sample to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mk-soak-") as folder:
        soak = start_plane(Path(folder) / "state")
        try:
            before = warm_up(soak)
            soak.began = time.monotonic()
            load(soak, 60 * options.minutes)
            after = settle(soak, before)
            spawned_results(soak)
            compare(soak, before, after)
            end_plane(soak)
        finally:
            for process in [*soak.clients, soak.plane]:
                if process.poll() is None:
                    process.kill()
        log = (Path(folder) / "plane.log").read_text()
    lost = [call for call in soak.calls if soak.verdict(call) == "lost"]
    soak.troubles += [f"{call['kind']}: {call['error']}" for call in lost[:20]]
    soak.troubles += [f"the plane said: {line}" for line in log.splitlines() if "Error" in line][
        :20
    ]
    slope = slope_per_minute(soak.samples, min(WARM_UP_S, 20 * options.minutes))
    if options.minutes >= STEADY_MINUTES and slope > FLAT_MB_A_MINUTE:
        soak.troubles.append(f"the plane's memory grows by {slope:.2f} MB a minute")
    text = report(soak, 60 * options.minutes, before, after, slope)
    print(f"\n\n{text}")
    if options.keep:
        kept = {
            "calls": soak.calls,
            "kills": soak.kills,
            "log": log,
            "samples": [s.fields() for s in soak.samples],
        }
        options.keep.write_text(json.dumps(kept))
    if options.write:
        RESULTS.write_text(text)
    return bool(soak.troubles)


if __name__ == "__main__":
    sys.exit(main())
