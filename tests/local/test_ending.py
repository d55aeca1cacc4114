"""Nothing outlives what it belongs to."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import modalkit

PATIENCE_S = 120

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LONG = """
import modal, subprocess, sys, time
app = modal.App("long")

@app.function()
def long():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
    print("the container is busy")
    time.sleep(1000)

@app.local_entrypoint()
def main():
    long.remote()
"""


CLEANUP = """
    try:
        time.sleep(1000)
    finally:
        print("the cleanup ran")

"""


@pytest.fixture(params=[(), ("--no-namespaces",)], ids=["namespaces", "plain"])
def busy(request, start_local, processes, tmp_path: Path):
    """A command whose container is busy and has left a child behind, with every process's id."""
    (tmp_path / "long.py").write_text(LONG)
    process = start_local(*request.param, "modal", "run", str(tmp_path / "long.py"))
    for line in process.stdout:
        if "the container is busy" in line:
            break
    everyone = processes.below(process.pid)
    assert len(everyone) >= 4  # the client, the launcher, the container, its child
    return process, everyone


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(busy, processes, wait_until, number):
    """Ctrl-C and SIGTERM end the command, its containers and their children."""
    process, everyone = busy
    process.send_signal(number)
    process.stdout.read()
    process.wait(PATIENCE_S)
    wait_until(lambda: not any(map(processes.alive, everyone)), "every process is gone")


def test_a_killed_plane_takes_everything_with_it(busy, processes, wait_until):
    """`kill -9` of the plane leaves no client and no container behind."""
    process, everyone = busy
    process.kill()
    wait_until(lambda: not any(map(processes.alive, everyone)), "every process is gone")


def test_a_killed_client_ends_the_command(busy, processes):
    """`kill -9` of the client ends the plane and its containers."""
    process, everyone = busy
    os.kill(everyone[0], signal.SIGKILL)
    process.stdout.read()
    assert process.wait(PATIENCE_S) == 137
    assert not any(map(processes.alive, everyone))


def test_a_containers_child_ends_with_it(local):
    """After the app a child that a function started is gone too."""
    done = local("modal", "run", "world.py::leave_a_child_behind", TEST_SECRET_FROM_HOST="x")
    assert done.returncode == 0, done.stderr


def test_up_ends_on_sigterm_and_removes_its_run_folder(start_local):
    """`up` prints exports, ends when asked to, and cleans up."""
    process = start_local("up")
    lines = [process.stdout.readline() for _ in range(6)]
    assert lines[0].startswith("export MODAL_SERVER_URL=http://127.0.0.1:")
    config = next(line for line in lines if "MODAL_CONFIG_PATH" in line).strip().partition("=")[2]
    run = Path(config).parent / "run" / str(process.pid)
    assert run.exists()
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    assert not run.exists()


def test_ctrl_c_at_a_terminal(processes, wait_until, state_folder: Path, tmp_path: Path):
    """At a terminal one Ctrl-C interrupts the function, runs its cleanup and ends everything."""
    source = LONG.replace("    time.sleep(1000)\n\n", CLEANUP)
    (tmp_path / "long.py").write_text(source)
    pid, terminal = pty.fork()
    if pid == 0:
        arguments = ["local", "--state", str(state_folder / "terminal"), "modal", "run"]
        code = "from modalkit.cli import main; main()"
        os.execv(sys.executable, [sys.executable, "-c", code, *arguments, f"{tmp_path}/long.py"])
    output = b""
    while b"the container is busy" not in output:
        output += os.read(terminal, 4096)
    everyone = processes.below(pid)
    os.write(terminal, b"\x03")
    with contextlib.suppress(OSError):  # a terminal whose last user is gone
        while piece := os.read(terminal, 4096):
            output += piece
    os.waitpid(pid, 0)
    assert b"the cleanup ran" in output
    wait_until(lambda: not any(map(processes.alive, everyone)), "every process is gone")


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def forked(pid: int) -> bool:
    """Whether a process is a zygote or came from one, and became nothing else."""
    return b"zygote" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


@pytest.fixture
def roles(busy) -> dict[str, int]:
    """The zygote, the launcher of the one container, and its program."""
    process, everyone = busy
    line = [pid for pid in everyone if forked(pid)]
    zygote = next(pid for pid in line if parent_of(pid) == process.pid)
    launcher = next(pid for pid in line if parent_of(pid) == zygote)
    return {"zygote": zygote, "launcher": launcher, "program": line[-1]}


@pytest.mark.parametrize("role", ["launcher", "program"])
def test_a_killed_container_leaves_nothing(busy, roles, processes, wait_until, role):
    """`kill -9` of a launcher or a program ends the whole container, its children included."""
    process, everyone = busy
    os.kill(roles[role], signal.SIGKILL)
    container = [pid for pid in everyone[1:] if pid != roles["zygote"]]
    wait_until(lambda: not any(map(processes.alive, container)), "the container is gone")
    process.kill()
    wait_until(lambda: not any(map(processes.alive, everyone)), "every process is gone")


def test_a_killed_zygote_ends_no_container_and_nothing_outlives_the_plane(
    busy, roles, processes, wait_until
):
    """`kill -9` of the zygote leaves containers alone; they still end with the plane."""
    process, everyone = busy
    os.kill(roles["zygote"], signal.SIGKILL)
    wait_until(lambda: not processes.alive(roles["zygote"]), "the zygote is gone")
    assert processes.alive(roles["program"])
    process.kill()
    wait_until(lambda: not any(map(processes.alive, everyone)), "every process is gone")


def test_fifty_containers_leave_nothing_behind(function, plane, processes, wait_until):
    """After fifty containers the plane has the files, processes and folders it had before."""
    end = function("fresh", "end_soon")

    def left() -> tuple[int, ...]:
        pid = plane.process.pid
        return (
            len(list(Path(f"/proc/{pid}/fd").iterdir())),
            len(processes.below(pid)),
            len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines()),
            len(list((plane.state / "run" / str(pid)).glob("c[0-9]*"))),
        )

    end.remote()
    before = left()
    containers = {end.remote()}
    while len(containers) < 50:
        containers.add(end.remote())
    wait_until(lambda: all(now <= was for now, was in zip(left(), before, strict=True)), "gone")


SOURCE = Path(modalkit.__file__).parents[1]
# The shell looks for the command as that user; setpriv itself would still look as root.
AS_OTHER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
ROOTLESS = [*AS_OTHER, "/bin/sh", "-c", 'exec "$0" "$@"']


def runs_without_root(python: str) -> bool:
    words = [*ROOTLESS, python, "-c", "import modalkit, modal"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def python_for_others(folder: Path) -> str:
    """A Python that another user can run: this one, or the system's with this one's packages.

    This one may lie in a home folder that nobody else may look into.
    """
    series = "python{}.{}".format(*sys.version_info[:2])
    system = shutil.which(series, path="/usr/local/bin:/usr/bin")
    if not runs_without_root(sys.executable) and system is not None:
        made = [system, "-m", "venv", "--without-pip", str(folder / "venv")]
        subprocess.run(made, check=True, capture_output=True)
        packages = folder / "venv" / "lib" / series / "site-packages" / "others.pth"
        packages.write_text(f"{site.getsitepackages()[0]}\n{SOURCE}\n")
        return str(folder / "venv" / "bin" / "python")
    return sys.executable


@pytest.fixture
def rootless() -> Iterator[tuple[Path, str]]:
    """A folder of somebody who is not root, and a Python; skips where there can be no such user."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    python = python_for_others(folder)
    if not runs_without_root(python):
        pytest.skip("no Python here can be run by another user")
    yield folder, python
    shutil.rmtree(folder, ignore_errors=True)


def test_without_root_containers_are_kept_apart_too(rootless):
    """An ordinary user gets namespaces through a user namespace, and nothing outlives the command."""
    folder, python = rootless
    source = LONG.replace("    time.sleep(1000)\n\n", "    print(os.getpid())\n\n")
    (folder / "long.py").write_text(source.replace("import modal,", "import modal, os,"))
    code = "from modalkit.cli import main; main()"
    words = ["local", "--state", str(folder / "state"), "modal", "run", str(folder / "long.py")]
    done = subprocess.run(
        [*ROOTLESS, python, "-c", code, *words],
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if "containers have no namespaces" in done.stderr:
        pytest.skip("this machine allows an ordinary user no namespaces")
    pids = [int(line) for line in done.stdout.splitlines() if line.isdigit()]
    assert pids
    assert pids[0] < 10
    assert not list((folder / "state" / "run").iterdir())
