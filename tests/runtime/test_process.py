"""An engine process: real children, watched and stopped."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.errors import EngineExitedError, EngineTimeoutError
from modalkit.runtime.lines import LineSplitter
from modalkit.runtime.process import EngineProcess

from .ports import free_port

SERVER = """
import http.server, sys, time
time.sleep(float(sys.argv[2]))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *args): pass
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def python(source: str, *arguments: object, **options) -> EngineProcess:
    argv = [sys.executable, "-c", source, *map(str, arguments)]
    return EngineProcess("Test engine", argv, options.pop("environment", {}), **options)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, given a moment for the kernel to reap it."""
    for _ in range(100):
        try:
            with Path(f"/proc/{pid}/stat").open() as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_ready_when_the_route_answers():
    """wait_ready returns once the readiness route answers 200, and not before."""
    port = free_port()
    process = python(SERVER, port, 0.5)
    try:
        assert process.wait_ready("127.0.0.1", port, "/health", timeout_s=30) >= 0.4
    finally:
        process.stop(grace_s=5)


def test_an_engine_that_dies_is_noticed_with_its_last_lines():
    """A death while starting is an error with exit code and output, not a timeout."""
    process = python("print('no such model: /x'); raise SystemExit(3)")
    with pytest.raises(EngineExitedError) as caught:
        process.wait_ready("127.0.0.1", free_port(), "/health", timeout_s=60)
    assert caught.value.returncode == 3
    assert caught.value.last_lines == ("no such model: /x",)
    assert "exit code 3" in str(caught.value)


def test_a_killed_engine_names_the_signal():
    """A process that the system killed says which signal did it."""
    process = python("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(EngineExitedError, match="signal 9"):
        process.wait_ready("127.0.0.1", free_port(), "/health", timeout_s=60)


def test_a_slow_engine_times_out_with_what_it_said():
    """An engine that is alive but not ready in time is an error that names the setting."""
    process = python("import time; print('loading'); time.sleep(60)", environment={})
    process_output = []
    try:
        with pytest.raises(EngineTimeoutError, match="startup_timeout") as caught:
            process.wait_ready("127.0.0.1", free_port(), "/health", timeout_s=1)
        process_output.extend(caught.value.last_lines)
    finally:
        process.stop(grace_s=0)
    assert caught.value.after_s >= 1


def test_an_engine_that_accepts_and_never_answers_times_out_in_time():
    """A connection that is accepted and left alone does not stretch the declared wait."""
    process = python("import time; time.sleep(300)")
    try:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            with pytest.raises(EngineTimeoutError) as caught:
                process.wait_ready("127.0.0.1", port, "/health", timeout_s=1)
    finally:
        process.stop(grace_s=0)
    assert 1 <= caught.value.after_s < 20  # one request alone may take 30


def test_output_is_forwarded_line_by_line_without_secrets():
    """What the engine prints is forwarded, its secrets replaced."""
    output = io.StringIO()
    source = "import os; print('key', os.environ['KEY']); print('done')"
    process = python(source, environment={"KEY": "s3cret"}, secrets=["s3cret"], output=output)
    with pytest.raises(EngineExitedError) as caught:
        process.wait_ready("127.0.0.1", free_port(), "/health", timeout_s=60)
    assert output.getvalue() == "key ***\ndone\n"
    assert "s3cret" not in str(caught.value)


def test_stop_ends_the_whole_group():
    """Helpers that the engine started end with it."""
    source = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(300)\n"
    )
    output = io.StringIO()
    process = python(source, output=output)
    while not output.getvalue():
        time.sleep(0.02)
    child = int(output.getvalue())
    process.stop(grace_s=5)
    assert is_gone(process.pid)
    assert is_gone(child)


def test_an_engine_that_ignores_the_request_to_stop_is_ended():
    """After its grace period a process that ignores SIGTERM is killed."""
    source = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True)\n"
        "time.sleep(300)\n"
    )
    output = io.StringIO()
    process = python(source, output=output)
    while not output.getvalue():
        time.sleep(0.02)
    process.stop(grace_s=0.2)
    assert is_gone(process.pid)


def test_a_command_that_does_not_exist_says_so():
    """A missing program is the operating system's own error with its name."""
    with pytest.raises(FileNotFoundError, match="no-such-engine"):
        EngineProcess("Test engine", ["no-such-engine"], {})


def test_children_get_the_environment_of_the_container():
    """Declared variables come on top of the container's own."""
    os.environ["MODALKIT_TEST_OUTER"] = "outer"
    try:
        output = io.StringIO()
        source = "import os; print(os.environ['MODALKIT_TEST_OUTER'], os.environ['INNER'])"
        process = python(source, environment={"INNER": "inner"}, output=output)
        with pytest.raises(EngineExitedError):
            process.wait_ready("127.0.0.1", free_port(), "/health", timeout_s=60)
        assert output.getvalue() == "outer inner\n"
    finally:
        del os.environ["MODALKIT_TEST_OUTER"]


def test_argv_is_never_a_shell_string():
    """Arguments with spaces and quotes arrive as they were declared."""
    output = io.StringIO()
    process = python("import sys; print(sys.argv[1:])", "a b", "$HOME;'\"", output=output)
    with pytest.raises(EngineExitedError):
        process.wait_ready("127.0.0.1", free_port(), "/health", timeout_s=60)
    assert output.getvalue().strip() == repr(["a b", "$HOME;'\""])
    assert subprocess.list2cmdline(["a b"]) != output.getvalue()


def wait_for(check: Callable[[], object]) -> None:
    """Give something a generous time to come true."""
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# An engine with two helpers, one of them in a session of its own; it prints all three ids.
FAMILY = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
near = subprocess.Popen(sleep)
far = subprocess.Popen(sleep, start_new_session=True)
print(os.getpid(), near.pid, far.pid, flush=True)
time.sleep(300)
"""


def family(**options) -> tuple[EngineProcess, list[int]]:
    """A running engine and the ids of its processes."""
    output = io.StringIO()
    process = python(FAMILY, output=output, **options)
    wait_for(lambda: "\n" in output.getvalue())
    return process, [int(word) for word in output.getvalue().split()]


def test_the_engine_has_a_session_of_its_own():
    """A Ctrl-C at the owner's terminal does not reach it, and its id is its group's."""
    process, (engine, near, far) = family()
    try:
        assert process.pid == engine
        assert os.getsid(engine) == os.getpgid(near) == engine
        assert os.getsid(engine) != os.getsid(0)
        assert os.getsid(far) == far
    finally:
        process.stop(grace_s=0)


@pytest.mark.parametrize("grace_s", [0, 5])
def test_stop_ends_helpers_in_sessions_of_their_own(grace_s):
    """Asked or killed, an engine takes everything with it that it started."""
    process, everyone = family()
    process.stop(grace_s)
    assert all(is_gone(pid) for pid in everyone)


def test_a_death_while_serving_is_told_once_and_leaves_nothing():
    """Whenever it dies, somebody is told with its code, and its helpers die with it."""
    told = []
    process, everyone = family(on_death=told.append)
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: told)
    assert told[0].returncode == -signal.SIGKILL
    assert told[0].last_lines == (" ".join(map(str, everyone)),)
    with pytest.raises(EngineExitedError, match="signal 9"):
        process.check()
    assert all(is_gone(pid) for pid in everyone)
    process.stop(grace_s=5)
    assert len(told) == 1


def test_an_engine_that_was_asked_to_stop_has_not_died():
    """Stopping is not told as a death."""
    told = []
    process, _ = family(on_death=told.append)
    process.stop(grace_s=5)
    assert not told


@pytest.mark.parametrize("which", ["keeper", "guard"])
def test_nothing_outlives_a_guard_that_is_killed(which):
    """Whichever of the two guards is killed, everything the engine started ends, and that is noticed."""
    told = []
    process, everyone = family(on_death=told.append)
    keeper = process._guard.pid
    (guard,) = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    os.kill(keeper if which == "keeper" else int(guard), signal.SIGKILL)
    wait_for(lambda: told)
    assert told[0].returncode == -signal.SIGKILL
    assert all(is_gone(pid) for pid in (*everyone, keeper, int(guard)))
    process.stop(grace_s=0)


OWNER = """
import sys, time
from modalkit.runtime.process import EngineProcess
engine = EngineProcess("Test engine", [sys.executable, "-c", sys.argv[1]], {}, output=sys.stdout)
if sys.argv[2] == "forks":  # a child of the owner's keeps what the owner had open
    import os
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
time.sleep(300)
"""


@pytest.mark.parametrize("how", ["killed", "forks"])
def test_nothing_outlives_an_owner_that_is_killed(how):
    """SIGKILL leaves no time for manners: everything the engine started dies all the same."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, FAMILY, how], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    everyone = [int(word) for word in owner.stdout.readline().split()]
    assert len(everyone) == 3
    time.sleep(0.2 if how == "forks" else 0)
    owner.kill()
    owner.wait()
    assert all(is_gone(pid) for pid in everyone)


def test_an_owner_that_just_ends_leaves_nothing():
    """Neither does an owner that forgets to stop its engine."""
    source = OWNER.replace("time.sleep(300)", "sys.stdin.readline()")
    owner = subprocess.Popen(
        [sys.executable, "-c", source, FAMILY, "ends"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    everyone = [int(word) for word in owner.stdout.readline().split()]
    owner.communicate("\n")
    assert len(everyone) == 3
    assert all(is_gone(pid) for pid in everyone)


def test_only_the_engine_itself_is_asked_to_stop():
    """Its helpers work on until it has finished what is under way."""
    source = (
        "import signal, subprocess, sys, time\n"
        "helper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        "def stop(*_):\n"
        "    time.sleep(0.3)\n"
        "    print('helper', helper.poll(), flush=True)\n"
        "    raise SystemExit\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('up', flush=True)\n"
        "time.sleep(300)\n"
    )
    output = io.StringIO()
    process = python(source, output=output)
    wait_for(lambda: "up" in output.getvalue())
    process.stop(grace_s=30)
    assert output.getvalue().split("\n")[1] == "helper None"


def test_a_bar_that_writes_over_itself_is_one_line():
    """A progress bar's last state is what is kept of it."""
    output = io.StringIO()
    source = "for n in range(100): print(f'\\r{n}%', end='')\nprint()\nprint('end', end='')"
    process = python(source, output=output)
    wait_for(lambda: process.ended_within(0))
    with pytest.raises(EngineExitedError):
        process.check()
    assert output.getvalue() == "99%\nend\n"


@given(st.lists(st.binary(max_size=12)), st.integers(4, 9))
def test_lines_are_the_same_in_whatever_pieces_they_come(pieces, longest):
    """Cutting a stream elsewhere changes nothing, unless a line is too long to be kept whole."""
    piecewise, whole = LineSplitter(), LineSplitter()
    said = [line for piece in pieces for line in piecewise.feed(piece)] + piecewise.rest()
    assert said == whole.feed(b"".join(pieces)) + whole.rest()
    short = LineSplitter(longest)
    for piece in pieces:
        assert all(len(line) <= longest + len(piece) for line in short.feed(piece))
    assert len(short.showing.encode()) <= 3 * longest  # each byte at worst a replacement character
