"""`modalkit local` and its commands, as a person types them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

APPS = Path(__file__).parent / "apps"
COMMAND = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]
PATIENCE_S = 120

CANARY = "canary-of-the-users-account"
PROFILE = f"""
[work]
token_id = "ak-{CANARY}"
token_secret = "as-{CANARY}"
server_url = "http://{CANARY}.invalid"
environment = "{CANARY}"
active = true
"""
SCHEDULED = """
import modal
app = modal.App("nightly")

@app.function(schedule=modal.Cron("0 6 * * *"))
def clean() -> None:
    print("cleaning up")
"""
SLOW = """
import time
import modal
app = modal.App("slow")

@app.function()
def f(number: int) -> int:
    time.sleep(0.5)
    return number

@app.local_entrypoint()
def main() -> None:
    list(f.map(range(6)))
"""


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder; whatever plane is up for it ends with the test."""
    with tempfile.TemporaryDirectory(prefix="mk-cli-") as folder:
        yield Path(folder) / "state"
        subprocess.run([*COMMAND, "down", "--state", f"{folder}/state"], check=False)


@pytest.fixture
def typed(state: Path):
    """Type ``modalkit local ...`` with that state folder."""

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MODAL")}
        return subprocess.run(
            [*COMMAND, *words],
            env={**kept, "MODALKIT_LOCAL_STATE": str(state), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            cwd=APPS,
            check=False,
        )

    return run


@pytest.fixture
def up(typed):
    """A plane in the background."""
    done = typed("up", "--detach", "--no-namespaces")
    assert done.returncode == 0, done.stderr
    return done


def test_up_detached_is_ready_when_it_returns(up, typed):
    """`up --detach` names the dashboard and the log, and status finds the plane at once."""
    assert "dashboard: http://localhost:" in up.stdout
    told = json.loads(typed("status", "--json").stdout)
    assert told["running"] is True
    assert told["apps"] == []
    assert told["url"].startswith("http://127.0.0.1:")


def test_the_local_dashboard_is_named_beside_modals_own_address(up, typed):
    """`modal app dashboard` knows modal.com only; the way to the local dashboard stands above it."""
    typed("modal", "deploy", "hello.py")
    done = typed("modal", "app", "dashboard", "hello", BROWSER="true")
    assert "its dashboard: http://localhost:" in done.stderr


def test_a_command_joins_the_plane_that_is_up(up, typed):
    """A command uses the running plane and says so; what it deploys is still there after it."""
    done = typed("modal", "deploy", "hello.py")
    assert done.returncode == 0, done.stderr
    assert "using the one that is up" in done.stderr
    status = typed("status")
    assert "hello" in status.stdout
    assert status.returncode == 0


def test_a_second_up_is_refused_with_what_to_do(up, typed):
    """Only one plane runs for a state folder; the second `up` names the first and `down`."""
    done = typed("up")
    assert done.returncode == 1
    assert "is up (process" in done.stderr
    assert "modalkit local down" in done.stderr


def test_a_folder_that_is_named_goes_before_the_variables(up, typed, tmp_path):
    """`modalkit local --state DIR reset` within another local Modal means DIR, not the other one."""
    assert str(tmp_path) in typed("--state", str(tmp_path), "status").stdout
    assert json.loads(typed("status", "--json").stdout)["running"] is True


def test_down_ends_it_and_status_says_so(up, typed):
    """After `down` nothing runs; status exits with 1 and says how to start one."""
    assert "has ended" in typed("down").stdout
    status = typed("status")
    assert status.returncode == 1
    assert "modalkit local up --detach" in status.stdout
    assert "No local Modal is up" in typed("down").stdout


def test_nothing_is_stale_after_kill_9(up, typed):
    """A killed plane leaves no lock: status, down and the next up work at once."""
    pid = json.loads(typed("status", "--json").stdout)["pid"]
    os.kill(pid, signal.SIGKILL)
    assert "No local Modal is up" in typed("down").stdout
    assert typed("up", "-d", "--no-namespaces").returncode == 0


def test_the_next_plane_answers_where_the_last_one_did(up, typed):
    """A shell with the variables of one plane finds the next plane of the same folder."""
    before = typed("env", "--shell", "dotenv").stdout.splitlines()
    typed("down")
    typed("up", "-d", "--no-namespaces")
    after = typed("env", "--shell", "dotenv").stdout.splitlines()
    same = [line for line in before if "PROXY" not in line]
    assert [line for line in after if "PROXY" not in line] == same


def test_a_taken_port_is_no_obstacle(state, typed):
    """When something else has the usual port, the plane takes another."""
    typed("up", "-d", "--no-namespaces")
    page = json.loads(typed("status", "--json").stdout)["dashboard"]
    typed("down")
    with socket.create_server(("127.0.0.1", int(page.rpartition(":")[2]))):
        assert typed("up", "-d", "--no-namespaces").returncode == 0
        assert json.loads(typed("status", "--json").stdout)["dashboard"] != page


@pytest.mark.parametrize(
    ("shell", "line", "gone"),
    [
        ("bash", "export MODAL_SERVER_URL=", "unset MODAL_PROFILE"),
        ("fish", "set -gx MODAL_SERVER_URL", "set -e MODAL_PROFILE"),
    ],
)
def test_env_points_a_shell_at_it(up, typed, shell, line, gone):
    """`env` prints the variables in the shell's own way and takes the user's account out."""
    printed = typed("env", "--shell", shell, MODAL_PROFILE="work").stdout
    assert line in printed
    assert gone in printed


def test_env_works_in_a_real_shell(up, typed, state):
    """A bash that evaluates what `env` prints meets the plane with the plain modal command."""
    exports = typed("env", "--shell", "bash").stdout
    script = f"{exports}\n{sys.executable} -m modal volume create from-a-shell"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "from-a-shell" in typed("modal", "volume", "list").stdout


def test_logs_show_the_apps_output(up, typed):
    """`logs` shows the plane's own words and every app's lines; with a name only that app's."""
    typed("modal", "run", "hello.py::square", "--number", "4")
    assert "hello | squaring 4" in typed("logs").stdout
    only = typed("logs", "hello").stdout.splitlines()
    assert only
    assert all(line.startswith("hello | ") for line in only)
    assert "There is no app 'nothing'" in typed("logs", "nothing").stderr


def test_logs_follow(up, typed, state):
    """`logs -f` prints a line that comes later."""
    follower = subprocess.Popen(
        [*COMMAND, "--state", str(state), "logs", "-f"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    watchdog = threading.Timer(PATIENCE_S, follower.kill)
    watchdog.start()
    try:
        typed("modal", "run", "hello.py::square", "--number", "9")
        assert follower.stdout is not None
        assert any("squaring 9" in line for line in follower.stdout)
    finally:
        watchdog.cancel()
        follower.kill()
        follower.wait()


def test_tick_fires_a_schedule(up, typed, tmp_path):
    """`tick NAME` calls the scheduled function now; a wrong name lists the right ones."""
    (tmp_path / "nightly.py").write_text(SCHEDULED)
    assert typed("modal", "deploy", str(tmp_path / "nightly.py")).returncode == 0
    assert "nightly::clean" in typed("status").stdout
    done = typed("tick", "nightly")
    assert "Fired nightly::clean" in done.stdout, done.stderr
    wrong = typed("tick", "weekly")
    assert wrong.returncode == 1
    assert "nightly::clean" in wrong.stderr


def test_reset_asks_first_and_then_empties_the_folder(up, typed, state):
    """`reset` refuses while a plane is up, says what goes, asks, and removes it all."""
    typed("modal", "volume", "create", "precious")
    refused = typed("reset", "--yes")
    assert refused.returncode == 1
    assert "modalkit local down" in refused.stderr
    typed("down")
    asked = typed("reset")
    assert asked.returncode == 1
    assert "1 volume" in asked.stdout
    assert (state / "records.db").exists()
    assert typed("reset", "--yes").returncode == 0
    assert not state.exists()


def test_reset_leaves_strangers_files_alone(typed, state):
    """What the local Modal did not make stays in the folder."""
    typed("true")
    (state / "thesis.txt").write_text("mine")
    assert typed("reset", "--yes").returncode == 0
    assert [path.name for path in state.iterdir()] == ["thesis.txt"]


def test_a_program_with_a_commands_name_is_reached_after_two_dashes(typed, tmp_path):
    """`modalkit local -- status` runs a program called status."""
    program = tmp_path / "status"
    program.write_text("#!/bin/sh\necho the program says $1\n")
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert "the program says hi" in typed("--", "status", "hi", PATH=path).stdout
    assert "No local Modal is up" in typed("status", PATH=path).stdout


def test_a_plane_goes_on_for_the_commands_that_joined_it(state, typed, wait_until):
    """The first command's plane ends only when a second command that joined it has ended too."""
    flag = state.parent / "joined"
    waiting = f"until [ -e {flag} ]; do sleep 0.1; done"
    first = subprocess.Popen(
        [*COMMAND, "--state", str(state), "sh", "-c", waiting], stderr=subprocess.PIPE
    )
    wait_until(lambda: typed("status").returncode == 0, "the first command's plane is up")
    late = f"touch {flag}; sleep 2; {sys.executable} -m modal volume create late"
    second = typed("sh", "-c", late)
    assert second.returncode == 0, second.stderr
    assert first.wait(PATIENCE_S) == 0
    assert first.stderr is not None
    assert b"another command uses this local Modal" in first.stderr.read()


def test_help_lists_every_command(typed):
    """`--help` shows the options, the examples on lines of their own, and the commands."""
    text = typed("--help").stdout
    assert "\n    modalkit local modal run app.py\n" in text
    for name in ("up", "down", "status", "logs", "env", "tick", "reset"):
        assert f"\n  {name} " in text
        assert typed(name, "--help").returncode == 0


def at_a_terminal(state: Path, *words: str) -> str:
    """Run ``modalkit local ...`` at a terminal of its own and return everything it wrote there."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(APPS)
        capable = {**os.environ, "TERM": "xterm-256color"}
        os.execve(COMMAND[0], [*COMMAND, "--state", str(state), *words], capable)
    output = b""
    with contextlib.suppress(OSError):  # a terminal whose last user is gone
        while piece := os.read(terminal, 4096):
            output += piece
    assert os.waitpid(pid, 0)[1] == 0, output
    return output.decode()


def test_notices_do_not_go_through_a_progress_display(state):
    """At a terminal a notice is a line of the client's own output, once, above its progress."""
    output = at_a_terminal(state, "--no-namespaces", "modal", "run", "hello.py::main")
    assert "answer: 9" in output
    assert output.count("local modal | containers have no namespaces here") == 1
    # In the client's colour for what is neither output nor error.
    assert "\x1b[33mlocal modal | containers have no namespaces here" in output


def test_progress_at_a_terminal(state, tmp_path):
    """The client's display counts the inputs of a map and the containers at work."""
    (tmp_path / "slow.py").write_text(SLOW)
    output = at_a_terminal(state, "modal", "run", str(tmp_path / "slow.py"))
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert "created function f" in plain.lower()
    assert "6/6" in plain
    assert "containers active" in plain


class _Trap:
    """A proxy that lets nobody through and counts who tried."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def caught(self) -> bool:
        self._listener.settimeout(0)
        try:
            self._listener.accept()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".modal.toml").write_text(PROFILE)
    return tmp_path


def test_nothing_of_the_users_account_is_used(typed, home, state):
    """A profile full of canaries reaches no command, no container and no file of the state folder."""
    trap = _Trap()
    proxies = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), trap.url
    )
    account = {
        "MODAL_TOKEN_ID": f"ak-{CANARY}",
        "MODAL_TOKEN_SECRET": f"as-{CANARY}",
        "MODAL_OAUTH_CLIENT_SECRET": CANARY,
        "MODAL_SERVER_URL": f"http://{CANARY}.invalid",
        "MODAL_PROFILE": "work",
    }
    show = "import os, modal.config as c; print(dict(os.environ), c.config.to_dict(), c._profile)"
    ran = typed("modal", "run", "hello.py::main", HOME=str(home), **account, **proxies)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    shown = typed("python", "-c", show, HOME=str(home), **account, **proxies)
    assert "ak-local" in shown.stdout
    assert CANARY not in shown.stdout + shown.stderr + ran.stdout + ran.stderr
    assert not [
        path for path in state.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()
    ]
    assert not trap.caught()


def test_it_needs_no_network_but_loopback(typed, home, state):
    """In a network namespace with nothing but loopback an app runs as ever."""
    words = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("network namespaces are not allowed here")
    done = subprocess.run(
        [*words, *COMMAND, "--state", str(state), "modal", "run", "hello.py::main"],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=APPS,
        check=False,
    )
    assert "answer: 9" in done.stdout, done.stdout + done.stderr
