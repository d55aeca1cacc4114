"""`modalkit local COMMAND`: what a person sees."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


def test_runs_a_file_with_arguments(local):
    """`modal run` calls the function in a container and prints its output and the answer."""
    done = local("modal", "run", "hello.py::main", "--number", "6")
    assert done.returncode == 0, done.stderr
    assert "squaring 6" in done.stdout
    assert "answer: 36" in done.stdout


def test_runs_a_function_by_name(local):
    """`modal run FILE::name --arg` calls one function."""
    done = local("modal", "run", "hello.py::square", "--number", "5")
    assert done.returncode == 0, done.stderr
    assert "squaring 5" in done.stdout


def test_says_once_what_runs_where_and_not_on_stdout(local):
    """The local Modal's own lines go to stderr, each once."""
    done = local("--no-namespaces", "modal", "run", "hello.py::main")
    assert "local modal |" not in done.stdout
    assert done.stderr.count("containers have no namespaces here") == 1


def test_quiet_says_nothing(local):
    """With --quiet stderr is the command's alone."""
    done = local("--quiet", sys.executable, "-c", "print('only this')")
    assert (done.stdout, done.stderr) == ("only this\n", "")


def test_remote_exception_reaches_the_caller_with_its_traceback(local):
    """An exception in a container is raised here, with the remote frames."""
    done = local("modal", "run", "hello.py::broken")
    assert done.returncode == 1
    assert "ValueError: on purpose" in done.stderr
    assert "in fails" in done.stderr


@pytest.mark.parametrize("code", [0, 3])
def test_passes_the_exit_code_on(local, code):
    """The command's exit code is this command's exit code."""
    assert local("python", "-c", f"raise SystemExit({code})").returncode == code


def test_a_signalled_command_is_128_and_the_signal(local):
    """A command that died of a signal is reported as a shell would."""
    done = local("python", "-c", "import os; os.kill(os.getpid(), 9)")
    assert done.returncode == 137


def test_unknown_command_is_an_error(local):
    """A command that does not exist is named."""
    done = local("no-such-command")
    assert done.returncode == 1
    assert "no command 'no-such-command'" in done.stderr


def test_the_users_account_is_neither_read_nor_passed_on(local, tmp_path: Path):
    """No token, profile or server of the user's reaches the command."""
    (tmp_path / ".modal.toml").write_text("this is not toml = = =")
    done = local(
        "python",
        "-c",
        "import os, modal.config as c; print(c.config['token_id'], c.config['server_url'], "
        "os.environ.get('MODAL_PROFILE'), 'mine' in str(dict(os.environ)))",
        HOME=str(tmp_path),
        MODAL_TOKEN_ID="ak-mine",
        MODAL_TOKEN_SECRET="as-mine",
        MODAL_PROFILE="mine",
    )
    assert done.returncode == 0, done.stderr
    token, server, profile, leaked = done.stdout.split()
    assert token == "ak-local"
    assert server.startswith("http://127.0.0.1:")
    assert (profile, leaked) == ("None", "False")


def test_help_lists_the_ways_to_use_it(local):
    """--help shows the commands a newcomer types first."""
    done = local("--help")
    assert "modalkit local modal run app.py" in done.stdout
    assert "--state" in done.stdout


def test_a_state_folder_that_cannot_be_made_is_an_error(local, tmp_path: Path):
    """A state folder below a file is refused with the option that helps."""
    (tmp_path / "file").write_text("")
    done = local("--state", str(tmp_path / "file" / "below"), "true")
    assert done.returncode == 1
    assert "--state DIR" in done.stderr


def test_a_damaged_records_file_is_an_error(local, tmp_path: Path):
    """A records file that is no database leads to a clear error."""
    (tmp_path / "records.db").write_bytes(b"x" * 5000)
    done = local("--state", str(tmp_path), "true")
    assert done.returncode == 1
    assert "records.db" in done.stderr
