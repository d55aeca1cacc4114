"""A real local Modal for the tests: the real command, the real modal client, real containers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

APPS = Path(__file__).parent / "apps"
COMMAND = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]
PATIENCE_S = 120  # a deadline against hangs, never a measurement


@dataclass
class Plane:
    """A running ``modalkit local up`` and the variables that point at it."""

    process: subprocess.Popen[str]
    exports: dict[str, str]
    state: Path
    deployed: set[str] = field(default_factory=set)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command against this plane."""
        return subprocess.run(
            list(words),
            env={**os.environ, **self.exports, **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            cwd=APPS,
            check=False,
        )

    def modal(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the modal CLI against this plane."""
        return self.run(sys.executable, "-m", "modal", *words, **variables)

    def python(self, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python code against this plane."""
        return self.run(sys.executable, "-c", code, **variables)

    def deploy(self, name: str) -> str:
        """Deploy one of the test apps, once; its name is its file's."""
        if name not in self.deployed:
            done = self.modal("deploy", f"{name}.py")
            assert done.returncode == 0, done.stdout + done.stderr
            self.deployed.add(name)
        return name


@dataclass(frozen=True)
class Processes:
    """A look at this machine's processes."""

    def below(self, pid: int) -> list[int]:
        """Return a process's descendants, each before its own."""
        found: list[int] = []
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in task.read_text().split():
                found += [int(child), *self.below(int(child))]
        return found

    def command(self, pid: int) -> bytes:
        """Return a process's command line; empty when it is gone."""
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""

    def alive(self, pid: int) -> bool:
        """Return whether a process runs (a zombie does not)."""
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        return status.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="session")
def processes() -> Processes:
    return Processes()


@pytest.fixture(scope="session")
def wait_until():
    """Wait for something that is about to become true."""

    def wait(condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"never happened: {what}"
            time.sleep(0.05)

    return wait


@pytest.fixture(scope="session")
def namespaces(tmp_path_factory) -> None:
    """Skip where this machine allows no namespaces."""
    from modalkit.local.processes.isolation import Isolation

    if not Isolation.probe(tmp_path_factory.mktemp("probe")).namespaces:
        pytest.skip("this machine allows no namespaces")


@pytest.fixture(scope="session")
def state_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mk-test-") as folder:
        yield Path(folder)


def start_plane(state: Path, **variables: str) -> Plane:
    """Start ``modalkit local up`` on a state folder and wait until it says where it answers."""
    process = subprocess.Popen(
        [*COMMAND, "--state", str(state), "up"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    exports: dict[str, str] = {}
    assert process.stdout is not None
    for line in process.stdout:
        name, _, value = line.removeprefix("export ").strip().partition("=")
        exports[name] = value
        if name == "MODALKIT_PROXY_SECRET":
            break
    return Plane(process, exports, state)


@pytest.fixture(scope="session")
def plane(state_folder: Path) -> Iterator[Plane]:
    started = start_plane(state_folder / "shared", TEST_SECRET_FROM_HOST="from the host")
    yield started
    started.process.terminate()
    assert started.process.wait(PATIENCE_S) == 0


@pytest.fixture
def planes(state_folder: Path) -> Iterator[Callable[[Path], Plane]]:
    """Start planes on state folders a test chooses; those still running are killed at its end."""
    started: list[Plane] = []

    def start(state: Path) -> Plane:
        started.append(start_plane(state))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(PATIENCE_S)


@pytest.fixture(scope="session")
def client(plane: Plane):
    """The real modal client, connected to the shared plane from this process."""
    import modal

    before = os.environ.get("MODAL_SERVER_URL")
    os.environ["MODAL_SERVER_URL"] = plane.exports["MODAL_SERVER_URL"]
    connected = modal.Client.from_credentials(
        plane.exports["MODAL_TOKEN_ID"], plane.exports["MODAL_TOKEN_SECRET"]
    )
    if before is None:
        del os.environ["MODAL_SERVER_URL"]
    else:
        os.environ["MODAL_SERVER_URL"] = before
    return connected


@pytest.fixture(scope="session")
def sandboxes_app(client):
    """The app that the tests' sandboxes belong to."""
    import modal

    return modal.App.lookup("sandboxes", create_if_missing=True, client=client)


@pytest.fixture
def make_sandbox(sandboxes_app, client):
    """Make sandboxes that end with the test."""
    import modal

    made: list[modal.Sandbox] = []

    def make(*words: str, **options) -> modal.Sandbox:
        made.append(modal.Sandbox.create(*words, app=sandboxes_app, client=client, **options))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.terminate()


@pytest.fixture
def function(plane: Plane, client):
    """Look up a function of a test app: ``function("calls", "square")``."""
    import modal

    def find(app: str, name: str):
        return modal.Function.from_name(plane.deploy(app), name, client=client)

    return find


@pytest.fixture
def cls(plane: Plane, client):
    """Look up a class of a test app."""
    import modal

    def find(app: str, name: str):
        return modal.Cls.from_name(plane.deploy(app), name, client=client)

    return find


@pytest.fixture
def local(tmp_path: Path, state_folder: Path):
    """Run ``modalkit local ...`` with a state folder of the test's own."""
    state = Path(tempfile.mkdtemp(dir=state_folder))

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "--state", str(state), *words],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            cwd=APPS,
            check=False,
        )

    return run


@pytest.fixture
def start_local(state_folder: Path):
    """Start ``modalkit local ...`` and leave it running; killed at the end if it still is."""
    started: list[subprocess.Popen[str]] = []
    watchdogs: list[threading.Timer] = []

    def start(*words: str, **variables: str) -> subprocess.Popen[str]:
        state = tempfile.mkdtemp(dir=state_folder)
        process = subprocess.Popen(
            [*COMMAND, "--state", state, *words],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=APPS,
            start_new_session=True,
        )
        started.append(process)
        watchdogs.append(threading.Timer(PATIENCE_S, process.kill))
        watchdogs[-1].start()
        return process

    yield start
    for watchdog in watchdogs:
        watchdog.cancel()
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_S)
