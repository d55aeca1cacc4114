"""The life of an app through Modal's own command line: run, look, log, tag, stop."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import modal
import pytest

APPS = Path(__file__).parent / "apps"
PATIENCE_S = 120

pytestmark = pytest.mark.slow


def ids(pattern: str, text: str) -> list[str]:
    return re.findall(rf"\b{pattern}-[A-Za-z0-9]{{22,26}}\b", text)


def created(entry: dict[str, str]) -> str:
    return entry["created_at"]


def app_state(plane, app_id: str) -> str:
    """What `modal app list` says of an app."""
    listed = json.loads(plane.modal("app", "list", "--json").stdout)
    states = [entry["state"] for entry in listed if entry["app_id"] == app_id]
    return states[0] if states else "unknown"


def test_a_local_entrypoint_takes_arguments_of_every_type(plane):
    """Text, whole and real numbers, flags and dates arrive as their Python types."""
    done = plane.modal(
        *("run", "life.py::every_type", "--text", "a b", "--whole", "7", "--real", "0.25"),
        *("--yes", "--when", "2026-02-03"),
    )
    assert "'a b' 7 0.25 True 2026-02-03" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("life.py::add", "--one", "2", "--shout"), "SUM 2.5"),
        (("life.py::app.add", "--one", "2"), "sum 2.5"),
        (("-m", "life::add", "--one", "3"), "sum 3.5"),
        (("life.py::Greeter.greet", "--name", "you", "--greeting", "hi"), "hi, you"),
    ],
    ids=["function", "through the app", "module", "method"],
)
def test_run_writes_the_result_of_what_it_names(plane, tmp_path: Path, words, expected):
    """`file::name`, `file::app.name`, `-m module::name` and `Class.method` run; -w keeps the result."""
    result = tmp_path / "result.txt"
    done = plane.modal("run", "-w", str(result), *words)
    assert done.returncode == 0, done.stderr
    assert result.read_text() == expected


def test_entrypoints_may_be_async_or_take_any_number_of_words(plane):
    """An async entrypoint is awaited, and `*words` gets what follows."""
    assert "async answer: sum 1.5" in plane.modal("run", "life.py::waits").stdout
    assert "words: a b" in plane.modal("run", "life.py::rest", "a", "b").stdout


def test_quiet_prints_nothing_of_modal(plane):
    """-q leaves out Modal's progress and, as on Modal, what containers print."""
    done = plane.modal("run", "-q", "life.py::chat", "--words", "psst")
    assert done.stdout == ""
    assert done.returncode == 0, done.stderr


def test_interactive_is_refused_with_the_reason(plane):
    """`modal run -i` needs a terminal in the container; it is refused before anything runs."""
    done = plane.modal("run", "-i", "life.py::add", "--one", "1")
    assert done.returncode == 1
    assert "cannot attach your terminal" in done.stdout + done.stderr


def test_shell_is_refused_with_the_name_of_what_is_missing(plane):
    """`modal shell` either works or says which RPC is not served; it never hangs."""
    done = plane.modal("shell", "--no-pty", "--cmd", "echo in the shell", "life.py::add")
    assert "in the shell" in done.stdout or "does not serve" in done.stdout + done.stderr


def test_a_detached_app_goes_on_after_its_client_and_ends_with_its_calls(plane, wait_until):
    """--detach keeps the spawned call alive; then the app ends by itself and its log is complete."""
    done = plane.modal("run", "--detach", "life.py::start_slow", "--seconds", "3")
    assert done.returncode == 0, done.stderr
    (call,) = set(ids("fc", done.stdout))
    fetch = f"import modal; print(modal.FunctionCall.from_id({call!r}).get(timeout=60))"
    assert plane.run(sys.executable, "-c", fetch).stdout == "slept\n"
    listed = json.loads(plane.modal("app", "list", "--json").stdout)
    newest = max((one for one in listed if one["description"] == "life"), key=created)["app_id"]
    wait_until(lambda: app_state(plane, newest) == "stopped", "the app ends")
    assert "sleeping 3.0" in plane.modal("app", "logs", newest).stdout


def test_a_killed_detached_client_leaves_its_app_running(plane, wait_until):
    """`kill -9` of the client of a detached app does not end what it started."""
    process = subprocess.Popen(
        [sys.executable, "-m", "modal", "run", "--detach", "life.py::held", "--key", "detached"],
        env={**os.environ, **plane.exports},
        stdout=subprocess.PIPE,
        text=True,
        cwd=APPS,
    )
    for line in process.stdout:
        if "held by detached" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_S)
    listed = json.loads(plane.modal("app", "list", "--json").stdout)
    running = [one for one in listed if "detached" in one["state"] and one["tasks"] != "0"]
    assert running
    for one in running:
        assert plane.modal("app", "stop", one["app_id"], "-y").returncode == 0


def test_an_app_is_run_from_python(plane):
    """`app.run()` under `modal.enable_output()` prints progress and the container's output."""
    script = (
        "import modal, life\nwith modal.enable_output():\n  with life.app.run():\n"
        "    life.chat.remote('hi')\n    print(life.app.app_id)"
    )
    done = plane.run(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    assert "out: hi" in done.stdout
    assert ids("ap", done.stdout)


def test_tags_are_kept_and_replaced(plane):
    """An app's tags come from its declaration and change with `set_tags`."""
    script = (
        "import modal, life\nwith life.app.run():\n  print(life.app.get_tags())\n"
        "  life.app.set_tags({'a': 'b'})\n  print(life.app.get_tags())"
    )
    done = plane.run(sys.executable, "-c", script)
    assert done.stdout == "{'team': 'tests'}\n{'a': 'b'}\n", done.stderr


def test_an_app_that_is_looked_up_says_what_is_in_it(plane, client):
    """`App.lookup(...).info()` names state, version and functions without another request."""
    plane.deploy("calls")
    info = modal.App.lookup("calls", client=client).info()
    assert (info.description, info.lifecycle.state.value) == ("calls", "deployed")
    assert info.lifecycle.version >= 1
    assert info.functions["square"].startswith("fu-")
    listed = {
        app.name: app for app in modal.Environment.from_name("main", client=client).apps.list()
    }
    assert listed["calls"].info() == info


def test_logs_are_fetched_filtered_and_followed(plane):
    """`app logs` knows --tail, --search, --source, --function, --container, --since and -f."""
    plane.deploy("life")
    script = (
        "import modal\nf = modal.Function.from_name('life', 'chat')\nf.remote('first')\n"
        "f.remote('second')\nc = f.spawn('third'); c.get(timeout=60); print(c.object_id, f.object_id)"
    )
    call, function = plane.run(sys.executable, "-c", script).stdout.split()

    def logs(*options: str) -> str:
        done = plane.modal("app", "logs", "life", *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    everything = logs()
    assert [everything.count(f"out: {word}") for word in ("first", "second", "third")] == [1, 1, 1]
    assert "out: first" not in logs("--search", "third")
    assert "out:" not in logs("--source", "stderr", "--tail", "10")
    assert "err: third" in logs("--source", "stderr")
    assert "out: second" in logs("--since", "1h", "--function", function)
    assert "out: first" not in logs("--function-call", call)
    assert "out: third" in logs("--function-call", call)
    (container,) = set(ids("ta", logs("--show-container-id")))
    assert "out: third" in logs("--container", container)
    assert "out: third" in plane.modal("container", "logs", container).stdout
    assert logs("--until", "1h").strip() == ""


def test_following_a_log_shows_what_comes_and_ends_with_the_app(plane, tmp_path: Path):
    """`app logs -f` prints new lines as they come and returns when the app is stopped."""
    assert plane.modal("deploy", "--name", "followed", "life.py").returncode == 0
    follower = subprocess.Popen(
        [sys.executable, "-m", "modal", "app", "logs", "-f", "followed"],
        env={**os.environ, **plane.exports},
        stdout=subprocess.PIPE,
        text=True,
    )
    script = "import modal; modal.Function.from_name('followed', 'chat').remote('news')"
    plane.run(sys.executable, "-c", script)
    for line in follower.stdout:
        if "out: news" in line:
            break
    plane.modal("app", "stop", "followed", "-y")
    assert follower.wait(PATIENCE_S) == 0


def test_containers_are_listed_and_stopped(plane, wait_until):
    """`container list` names a running container; `container stop` runs its input elsewhere."""
    plane.deploy("life")
    script = (
        "import modal\nc = modal.Function.from_name('life', 'held').spawn('stopped')\n"
        "print(c.object_id, flush=True)\nprint(c.get(timeout=90))"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, **plane.exports},
        stdout=subprocess.PIPE,
        text=True,
    )
    call = caller.stdout.readline().strip()
    log = ("app", "logs", "life", "--function-call", call, "--show-container-id")
    wait_until(lambda: "held by stopped" in plane.modal(*log).stdout, "the input runs")
    (first,) = set(ids("ta", plane.modal(*log).stdout))
    assert first in plane.modal("container", "list", "--json").stdout
    assert plane.modal("container", "stop", "-y", first).returncode == 0
    assert caller.communicate(timeout=PATIENCE_S)[0] == "ran again\n"
    unknown = plane.modal("container", "stop", "-y", "ta-" + "0" * 22)
    assert "There is no container" in unknown.stdout + unknown.stderr


def test_stopping_ends_running_calls_runs_exit_hooks_and_frees_the_name(plane):
    """`app stop` ends a deployed app with its calls; the name can be deployed again."""
    assert plane.modal("deploy", "--name", "stoppable", "life.py").returncode == 0
    script = (
        "import modal\nmodal.Cls.from_name('stoppable', 'Greeter')().greet.remote('x')\n"
        "c = modal.Function.from_name('stoppable', 'slow').spawn(600)\n"
        "print(c.object_id, flush=True)\n"
        "try:\n  c.get(timeout=60)\nexcept Exception as e:\n  print(type(e).__name__)"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, **plane.exports},
        stdout=subprocess.PIPE,
        text=True,
    )
    caller.stdout.readline()
    stopped = plane.modal("app", "stop", "stoppable", "-y")
    assert stopped.returncode == 0, stopped.stderr
    assert caller.communicate(timeout=PATIENCE_S)[0].strip() != ""
    log = plane.modal("app", "logs", "stoppable")
    assert "the exit hook ran" in log.stdout, log.stderr
    again = plane.modal("app", "stop", "stoppable", "-y")
    assert "already stopped" in again.stdout + again.stderr
    assert plane.modal("deploy", "--name", "stoppable", "life.py").returncode == 0
    assert "deployed" in plane.modal("app", "list").stdout
    assert plane.modal("app", "stop", "stoppable", "-y").returncode == 0


def test_lookups_know_environments(plane):
    """The same name in two environments is two apps, for functions, classes and `App.lookup`."""
    if plane.modal("environment", "create", "apps-dev").returncode:
        pytest.fail("modal environment create is not served")
    plane.deploy("life")
    assert plane.modal("deploy", "-e", "apps-dev", "--name", "only-dev", "life.py").returncode == 0
    script = (
        "import modal\nf = modal.Function.from_name('only-dev', 'add', environment_name='apps-dev')\n"
        "print(f.remote(1))\n"
        "g = modal.Cls.from_name('only-dev', 'Greeter', environment_name='apps-dev')\n"
        "print(g(greeting='yo').greet.remote('dev'))\n"
        "print(modal.App.lookup('only-dev', environment_name='apps-dev').app_id[:3])\n"
        "try:\n  modal.Function.from_name('only-dev', 'add').remote(1)\n"
        "except modal.exception.NotFoundError as e:\n  print('not in main')\n"
        "made = modal.App.lookup('made', create_if_missing=True)\n"
        "print(modal.App.lookup('made').app_id == made.app_id)"
    )
    done = plane.run(sys.executable, "-c", script)
    assert done.stdout == "sum 1.5\nyo, dev\nap-\nnot in main\nTrue\n", done.stderr


def test_variants_are_listed(plane):
    """`modal function variants` shows what `with_options` made of a function, the newest first."""
    script = (
        "import modal, life\nwith life.app.run():\n"
        "  for cpu in (1, 2): life.add.with_options(cpu=cpu).hydrate()\n"
        "  import subprocess, sys\n"
        "  subprocess.run([sys.executable, '-m', 'modal', 'function', 'variants', '--limit', '0',"
        " '--json', life.add.object_id], check=True)"
    )
    done = plane.run(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [variant["options"]["cpu"] for variant in found] == [2.0, 1.0]


def test_the_autoscaler_is_asked_and_told(plane):
    """`get_current_stats` counts, `update_autoscaler` keeps containers, `with_...` overrides."""
    plane.deploy("life")
    script = (
        "import modal, time\nf = modal.Function.from_name('life', 'add')\n"
        "f.update_autoscaler(min_containers=1)\n"
        "while not f.get_current_stats().num_total_runners: time.sleep(.1)\n"
        "print(f.get_current_stats().backlog)\n"
        "f.update_autoscaler(min_containers=0)\n"
        "C = modal.Cls.from_name('life', 'Greeter')\n"
        "print(C.with_options(max_containers=1, timeout=30)(greeting='a').greet.remote('b'))\n"
        "print(C.with_concurrency(max_inputs=4)().greet.remote('c'))\n"
        "D = modal.Cls.from_name('life', 'Doubler').with_batching(max_batch_size=3, wait_ms=50)\n"
        "print(list(D().double.map([1, 2, 3])))\n"
    )
    done = plane.run(sys.executable, "-c", script)
    assert done.stdout == "0\na, b\nhello, c\n[2, 4, 6]\n", done.stderr
