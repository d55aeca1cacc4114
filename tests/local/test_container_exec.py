"""`modal container exec`: commands in the container of a function."""

from __future__ import annotations

import modal
import pytest

from modalkit.local.processes.isolation import Isolation

pytestmark = pytest.mark.slow


@pytest.fixture
def container(client):
    """The id of a container that has run a function and waits for more."""
    app = modal.App()

    @app.function(
        serialized=True, secrets=[modal.Secret.from_dict({"WORD": "kept"})], scaledown_window=600
    )
    def leave_a_file() -> str:
        import os
        from pathlib import Path

        Path("/tmp/left-by-function").write_text("seen")
        return os.environ["MODAL_TASK_ID"]

    with app.run(client=client):
        yield leave_a_file.remote()


def run_in(plane, container: str, *words: str):
    return plane.modal("container", "exec", "--no-pty", container, "--", *words)


def test_a_command_sees_what_the_function_sees(plane, container, tmp_path_factory):
    """A command has the function's variables, secrets and folder, and with namespaces its files."""
    said = run_in(plane, container, "sh", "-c", "echo $WORD $MODAL_TASK_ID; pwd; echo no >&2")
    assert said.returncode == 0, said.stderr
    assert f"kept {container}\n" in said.stdout
    assert "/root\n" in said.stdout
    assert "no\n" in said.stdout + said.stderr
    if Isolation.probe(tmp_path_factory.mktemp("probe")).namespaces:
        assert "seen" in run_in(plane, container, "cat", "/tmp/left-by-function").stdout


def test_all_that_a_command_prints_arrives_before_its_end(plane, container):
    """The client prints in the background and goes when it knows the exit code: that comes last."""
    said = run_in(plane, container, "sh", "-c", "yes 1234567 | head -c 16000000; echo no >&2")
    assert said.returncode == 0, said.stderr[-500:]
    assert len(said.stdout) == 16_000_000 + len("no\n"), said.stdout[-20:]


def test_what_a_command_leaves_running_does_not_hold_its_end(plane, container):
    """A program behind it that keeps its output open, and one that goes on printing, are not waited for."""
    for left in ("sleep 300", "while sleep 0.1; do echo more; done"):
        said = run_in(plane, container, "sh", "-c", f"echo started; ({left}) & exit 0")
        assert "started\n" in said.stdout, said.stderr


def test_a_container_is_reached_as_a_newer_sandbox_too(plane, container):
    """The client takes a container whose id ends in V for a newer sandbox's, and asks another way."""
    asked = (
        "from modal.sandbox.sandbox import _container_exec as run\n"
        f"run(False, {container!r}, ('echo', 'reached'), sandbox_id_v2={container!r})\n"
    )
    said = plane.python(asked)
    assert said.stdout.strip() == "reached", said.stderr


def test_the_containers_own_python_is_found_first(plane, container):
    """`python` is the interpreter that the function runs in."""
    said = run_in(plane, container, "python", "-c", "import modal; print(modal.__version__)")
    assert said.stdout.strip() == modal.__version__, said.stderr


def test_a_container_that_does_not_run_is_named(plane):
    """An id of no running container is refused with where to look."""
    unknown = "ta-" + "0" * 22
    refused = run_in(plane, unknown, "true")
    assert refused.returncode == 1
    assert unknown in refused.stdout + refused.stderr
    assert "modal container list" in refused.stdout + refused.stderr


def test_commands_do_not_outlive_their_container(plane, container, wait_until, processes):
    """A command that goes on is ended with its container."""
    started = plane.modal(
        *("container", "exec", "--no-pty", container, "--"),
        *("sh", "-c", "setsid sleep 7654 </dev/null >/dev/null 2>&1 & echo started"),
    )
    assert "started" in started.stdout, started.stderr

    def sleepers() -> list[int]:
        below = processes.below(plane.process.pid)
        return [pid for pid in below if b"7654" in processes.command(pid)]

    wait_until(sleepers, "the command runs")
    plane.modal("container", "stop", "-y", container)
    wait_until(lambda: not sleepers(), "it is gone with its container")
