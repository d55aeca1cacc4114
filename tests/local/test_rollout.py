"""Deploying again: versions, history, rolling back, and nobody who notices."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

PATIENCE_S = 120

pytestmark = pytest.mark.slow

SOURCE = """
import time
import modal

app = modal.App("rolling")

@app.function()
def version() -> str:
    return "VERSION"

@app.function()
def around() -> str:
    return f"around {version.remote()}"

@app.function()
def held(key: str) -> str:
    gates = modal.Dict.from_name("rolling-gates", create_if_missing=True)
    if gates.get(key) == "seen":
        return "again VERSION"
    gates[key] = "seen"
    print("held runs")
    while gates.get(key) != "open":
        time.sleep(0.1)
    return "VERSION"

@app.cls()
class Kept:
    name: str = modal.parameter(default="x")

    @modal.method()
    def version(self) -> str:
        return f"{self.name} VERSION"

@app.function(scaledown_window=300)
@modal.concurrent(max_inputs=8)
@modal.fastapi_endpoint(docs=True)
def page() -> str:
    time.sleep(0.02)
    return "VERSION"
"""
FIND = "import modal; f = modal.Function.from_name('rolling', '{}'); "


@pytest.fixture
def deploy(plane, tmp_path: Path):
    """Deploy the app with its answers set to a word; it is gone afterwards."""

    def run(word: str, *options: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "rolling.py").write_text(SOURCE.replace("VERSION", word))
        done = plane.modal("deploy", *options, str(tmp_path / "rolling.py"))
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    yield run
    plane.modal("app", "stop", "rolling", "-y")


def answer(plane, name: str = "version", call: str = "remote()") -> str:
    done = plane.run(sys.executable, "-c", f"{FIND.format(name)}print(f.{call})")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def start_held(plane, key: str) -> subprocess.Popen[str]:
    """Start a call and return when its container works on it."""
    script = (
        f"{FIND.format('held')}c = f.spawn({key!r})\nprint(c.object_id, flush=True)\n"
        "print(c.get(timeout=100))"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, **plane.exports},
        stdout=subprocess.PIPE,
        text=True,
    )
    call = caller.stdout.readline().strip()
    while "held runs" not in plane.modal("app", "logs", "rolling", "--function-call", call).stdout:
        assert caller.poll() is None
    return caller


def let_go(plane, key: str) -> None:
    script = f"import modal; modal.Dict.from_name('rolling-gates')[{key!r}] = 'open'"
    assert plane.run(sys.executable, "-c", script).returncode == 0


def test_running_calls_finish_on_the_old_version(plane, deploy):
    """A redeploy leaves running calls alone; calls made after it meet the new version."""
    deploy("one")
    caller = start_held(plane, "old")
    deploy("two")
    assert answer(plane) == "two"
    let_go(plane, "old")
    assert caller.communicate(timeout=PATIENCE_S)[0] == "one\n"


PINNED = """
import modal
from modal.exception import NotFoundError

def f(name, version=None):
    return modal.Function.from_name("rolling", name, version=version)

print(f("version", 1).remote(), f("version", 2).remote(), f("version").remote())
print(f("around", 1).remote(), f("around").remote())
print(modal.Cls.from_name("rolling", "Kept", version=1)(name="k").version.remote())
try:
    f("version", 7).hydrate()
except NotFoundError as error:
    print(error)
"""


def test_a_version_can_be_asked_for(plane, deploy):
    """`from_name(version=1)` runs that version, what it calls included, whatever came after it."""
    deploy("one")
    deploy("two")
    done = plane.run(sys.executable, "-c", PINNED)
    assert done.returncode == 0, done.stderr
    *answers, refused = done.stdout.splitlines()
    assert answers == ["one two two", "around one around two", "k one"]
    assert "'rolling' has no version v7; kept are: v1, v2" in refused


def test_recreate_ends_old_containers_at_once(plane, deploy):
    """--strategy recreate runs what was running again, on the new version."""
    deploy("one")
    caller = start_held(plane, "ended")
    deploy("two", "--strategy", "recreate")
    assert caller.communicate(timeout=PATIENCE_S)[0] == "again two\n"


def test_a_handle_with_parameters_follows_a_redeploy(plane, deploy):
    """An instance looked up before a redeploy answers with the new version after it."""
    deploy("one")
    script = (
        "import modal, sys\nk = modal.Cls.from_name('rolling', 'Kept')(name='me')\n"
        "print(k.version.remote(), flush=True)\nsys.stdin.readline()\nprint(k.version.remote())"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, **plane.exports},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "me one\n"
    deploy("two")
    assert holder.communicate("go\n", timeout=PATIENCE_S)[0] == "me two\n"


def test_a_web_endpoint_loses_no_request_during_a_redeploy(plane, deploy):
    """Under load every request of a redeploy is answered, at the same URL, by one version or the other."""
    url = re.search(r"http://127.0.0.1:\d+", deploy("one").stdout)[0]
    seen: list[str] = []
    stop = threading.Event()

    def load() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                response = client.get(url)
                seen.append(
                    response.text if response.status_code == 200 else response.reason_phrase
                )

    workers = [threading.Thread(target=load) for _ in range(4)]
    for worker in workers:
        worker.start()
    while len(seen) < 20:
        stop.wait(0.1)
    assert url in deploy("two").stdout
    while seen[-1] != '"two"' and set(seen) <= {'"one"', '"two"'}:
        stop.wait(0.1)
    stop.set()
    for worker in workers:
        worker.join()
    assert set(seen) == {'"one"', '"two"'}


def test_a_failed_deployment_changes_nothing(plane, deploy, tmp_path: Path):
    """A redeploy that is refused halfway leaves the old version running."""
    deploy("one")
    broken = SOURCE.replace("VERSION", "two") + (
        "\n@app.function(schedule=modal.Cron('61 * * * *'))\ndef never() -> None: ...\n"
    )
    (tmp_path / "rolling.py").write_text(broken)
    done = plane.modal("deploy", str(tmp_path / "rolling.py"))
    assert done.returncode == 1
    assert "minute field '61'" in done.stdout + done.stderr
    assert answer(plane) == "one"


def test_history_and_rollback_survive_a_restart(start_local, tmp_path: Path):
    """Versions with their tags are listed, rolled back to, and kept when the plane ends."""
    state = tmp_path / "state"
    words = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]

    def local(*command: str) -> str:
        done = subprocess.run(
            [*words, "--state", str(state), "--exit", *command],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def deploy(word: str, *options: str) -> None:
        (tmp_path / "rolling.py").write_text(SOURCE.replace("VERSION", word))
        local("modal", "deploy", *options, str(tmp_path / "rolling.py"))

    def version() -> str:
        return local("python", "-c", f"{FIND.format('version')}print(f.remote())").strip()

    deploy("one", "--tag", "first")
    deploy("two")
    assert version() == "two"
    local("modal", "app", "rollback", "rolling")
    assert version() == "one"
    local("modal", "app", "rollback", "rolling", "v2")
    assert version() == "two"
    local("modal", "app", "rollover", "rolling")
    history = local("modal", "app", "history", "rolling")
    assert re.findall(r"\bv\d\b", history) == ["v5", "v4", "v3", "v2", "v1"]
    assert "first" in history
    assert "1.6" in history or "1.5" in history
    log = local("modal", "app", "logs", "rolling", "--tail", "1")
    assert log.strip() == ""


def test_an_unknown_version_is_named(plane, deploy):
    """Rolling back to a version that never was names those that are kept."""
    deploy("one")
    done = plane.modal("app", "rollback", "rolling", "v9")
    assert done.returncode == 1
    assert "no version v9; kept are: v1" in done.stdout + done.stderr


def test_a_staged_version_waits_to_be_promoted(plane, deploy):
    """--staged puts a version aside; promoting it makes it the one that answers."""
    if plane.modal("app", "promote", "--help").returncode != 0:  # the list of commands hides it
        pytest.skip("this modal deploys no staged versions (1.6 does)")
    deploy("one")
    deploy("two", "--staged")
    assert answer(plane) == "one"
    assert plane.modal("app", "promote", "rolling", "v2").returncode == 0
    assert answer(plane) == "two"


def test_logs_of_a_deployed_app_survive_a_restart(tmp_path: Path):
    """What a deployed app printed is read by a later command, and goes when the app is stopped."""
    words = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]
    state = tmp_path / "state"

    def local(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*words, "--state", str(state), *command],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            cwd=Path(__file__).parent / "apps",
        )

    assert local("modal", "deploy", "life.py").returncode == 0
    local("python", "-c", "import modal; modal.Function.from_name('life','chat').remote('kept')")
    assert "out: kept" in local("modal", "app", "logs", "life").stdout
    assert list((state / "logs").rglob("log.jsonl"))
    assert local("modal", "app", "stop", "life", "-y").returncode == 0
    assert not list((state / "logs").rglob("log.jsonl"))


def test_a_client_killed_outright_ends_its_app(tmp_path: Path, wait_until):
    """After missed heartbeats the app of a client that was killed is stopped with its containers."""
    runner = tmp_path / "plane.py"
    runner.write_text(
        "import asyncio, sys\nfrom pathlib import Path\nfrom modalkit.local import Address\n"
        "from modalkit.local.plane import LocalModal\n"
        "async def main():\n"
        "    address = Address(Path(sys.argv[1]))\n"
        "    plane = LocalModal(address, lambda text: None, heartbeat_limit_s=20)\n"
        "    await plane.start()\n"
        "    print(*(f'{k}={v}' for k, v in address.exports().items()), flush=True)\n"
        "    while not (apps := plane.apps.all()) or not apps[0].stopped_at:\n"
        "        await asyncio.sleep(0.1)\n"
        "    print('stopped with', len(apps[0].pools[0].containers), 'containers', flush=True)\n"
        "    await plane.stop()\n"
        "asyncio.run(main())\n"
    )
    plane = subprocess.Popen(
        [sys.executable, str(runner), str(tmp_path / "state")], stdout=subprocess.PIPE, text=True
    )
    exports = dict(pair.split("=", 1) for pair in plane.stdout.readline().split())
    client = subprocess.Popen(
        [sys.executable, "-m", "modal", "run", "life.py::slow", "--seconds", "600"],
        env={**os.environ, **exports},
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent / "apps",
    )
    for line in client.stdout:
        if "sleeping 600" in line:
            break
    client.send_signal(signal.SIGKILL)
    client.wait(PATIENCE_S)
    assert plane.stdout.readline() == "stopped with 0 containers\n"
    assert plane.wait(PATIENCE_S) == 0
