"""Sandboxes: commands in a container of their own, through the real client."""

from __future__ import annotations

import io
import signal
import socket
import ssl
import urllib.request
from pathlib import Path

import modal
import pytest


@pytest.fixture(scope="module")
def shared(sandboxes_app, client):
    """One sandbox for the tests that leave no trace in it."""
    sandbox = modal.Sandbox.create(app=sandboxes_app, client=client, timeout=300)
    yield sandbox
    sandbox.terminate()


@pytest.fixture
def trusting(plane):
    """Make TLS contexts that trust what programs run by this local Modal trust."""
    return lambda: ssl.create_default_context(cafile=plane.exports["SSL_CERT_FILE"])


def run(sandbox: modal.Sandbox, *words: str, **options) -> str:
    process = sandbox.exec(*words, **options)
    output = process.stdout.read()
    assert process.wait() == 0, process.stderr.read()
    return output


def test_a_command_has_streams_and_an_exit_code(shared):
    """What a command prints comes back by stream, and its exit code with it."""
    code = "import sys; print('out', sys.argv[1]); print('err', file=sys.stderr); sys.exit(3)"
    process = shared.exec("python", "-c", code, "word")
    assert process.stdout.read() == "out word\n"
    assert process.stderr.read() == "err\n"
    assert process.wait() == 3
    assert process.returncode == 3
    assert process.poll() == 3


def test_output_comes_while_the_command_runs(shared):
    """Lines are there as they are printed, not at the end."""
    process = shared.exec("sh", "-c", "echo first; read line; echo second $line")
    lines = iter(process.stdout)
    assert next(lines) == "first\n"
    assert process.poll() is None
    process.stdin.write("typed\n")
    process.stdin.drain()
    assert next(lines) == "second typed\n"
    assert process.wait() == 0


def test_input_and_output_of_any_bytes(shared):
    """Large binary input arrives whole, and so does the output."""
    data = bytes(range(256)) * 8192
    process = shared.exec("cat", text=False)
    for start in range(0, len(data), 500_000):
        process.stdin.write(data[start : start + 500_000])
        process.stdin.drain()
    process.stdin.write_eof()
    process.stdin.drain()
    assert process.stdout.read() == data
    assert process.wait() == 0


def test_variables_secrets_and_the_working_folder(shared):
    """A command gets the variables of its secrets, its `env`, and its working folder."""
    secret = modal.Secret.from_dict({"FROM_SECRET": "a"})
    script = "echo $FROM_SECRET $FROM_ENV $PWD"
    output = run(
        shared, "sh", "-c", script, secrets=[secret], env={"FROM_ENV": "b"}, workdir="/tmp"
    )
    assert output == "a b /tmp\n"


def test_a_command_that_cannot_be_started(shared):
    """A program that does not exist ends with a shell's code and says its name."""
    process = shared.exec("no-such-program")
    assert process.wait() == 127
    assert "no-such-program" in process.stderr.read()


def test_a_command_is_killed_at_its_timeout(shared, wait_until):
    """A command that takes longer than its `timeout` ends, with everything it started.

    Whoever waits for it is told -1, which is Modal's word for it.
    """
    process = shared.exec("sh", "-c", "sleep 300 & sleep 300", timeout=1)
    assert process.wait() == -1
    left = "ps aux | grep -c '[s]leep 300' || true"
    wait_until(lambda: run(shared, "sh", "-c", left).strip() == "0", "the end of both")


def test_many_commands_at_once(shared):
    """Commands run beside each other and keep their outputs apart."""
    started = [shared.exec("sh", "-c", f"sleep 0.1; echo {number}") for number in range(10)]
    assert [process.stdout.read() for process in started] == [f"{n}\n" for n in range(10)]


def test_files_are_written_read_listed_and_removed(shared, tmp_path: Path):
    """`Sandbox.filesystem` does to the sandbox's files what its methods say."""
    files = shared.filesystem
    files.make_directory("/data/empty")
    files.write_text("text", "/data/deep/er/a.txt")
    large = bytes(range(256)) * 20_000
    files.write_bytes(large, "/data/b.bin")
    assert files.read_text("/data/deep/er/a.txt") == "text"
    assert files.read_bytes("/data/b.bin") == large
    assert [entry.name for entry in files.list_files("/data")] == ["b.bin", "deep", "empty"]
    found = files.stat("/data/b.bin")
    assert (found.size, found.is_file(), found.path) == (len(large), True, "/data/b.bin")
    (tmp_path / "local").write_text("from here")
    files.copy_from_local(tmp_path / "local", "/data/copied")
    files.copy_to_local("/data/copied", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "from here"
    assert run(shared, "cat", "/data/copied") == "from here"
    files.remove("/data", recursive=True)
    with pytest.raises(modal.exception.SandboxFilesystemNotFoundError):
        files.list_files("/data")


def test_wrong_file_operations_say_why(shared):
    """Each kind of mistake with files is the client's error of that kind."""
    files, errors = shared.filesystem, modal.exception
    files.write_text("x", "/wrong/file")
    with pytest.raises(errors.SandboxFilesystemNotFoundError):
        files.read_text("/wrong/nothing")
    with pytest.raises(errors.SandboxFilesystemIsADirectoryError):
        files.read_text("/wrong")
    with pytest.raises(errors.SandboxFilesystemDirectoryNotEmptyError):
        files.remove("/wrong")
    with pytest.raises(errors.SandboxFilesystemPathAlreadyExistsError):
        files.make_directory("/wrong/file", create_parents=False)
    with pytest.raises(errors.SandboxFilesystemNotADirectoryError):
        files.write_text("y", "/wrong/file/below")


def test_a_sandbox_is_apart_from_this_machine(make_sandbox):
    """What a sandbox writes, and the processes it sees, are its own."""
    first, second = make_sandbox(), make_sandbox()
    run(first, "sh", "-c", "echo secret > /root/mine; echo x > /etc/of-a-sandbox")
    assert not Path("/etc/of-a-sandbox").exists()
    assert second.exec("cat", "/root/mine").wait() != 0
    processes = run(second, "sh", "-c", "ls /proc | grep -c '^[0-9]'")
    assert int(processes) < 10


def test_a_sandboxs_own_command(make_sandbox):
    """The sandbox runs its command, passes input and output, and ends with its code."""
    sandbox = make_sandbox("sh", "-c", "echo ready; read word; echo got $word; exit 4")
    sandbox.stdin.write("this\n")
    sandbox.stdin.drain()
    assert list(sandbox.stdout) == ["ready\n", "got this\n"]
    sandbox.wait()
    assert sandbox.returncode == 4
    assert sandbox.poll() == 4


def test_terminating_ends_everything_in_it(make_sandbox, processes, plane, wait_until):
    """`terminate` ends the sandbox's commands and leaves no process behind."""
    before = set(processes.below(plane.process.pid))
    sandbox = make_sandbox("sleep", "300")
    command = sandbox.exec("sleep", "300")
    assert sandbox.poll() is None
    started = set(processes.below(plane.process.pid)) - before
    assert started
    sandbox.terminate()
    sandbox.wait(raise_on_termination=False)
    assert sandbox.returncode == 137
    assert command.wait() != 0
    sleeping = [pid for pid in started if _command_line(pid).startswith("sleep")]
    wait_until(lambda: not any(map(processes.alive, sleeping)), "the end of its processes")
    with pytest.raises(modal.exception.Error, match=r"ended|finished"):
        sandbox.exec("true")


def test_a_sandbox_ends_at_its_timeout(make_sandbox):
    """After `timeout` seconds a sandbox is over, and `wait` says it was the timeout."""
    sandbox = make_sandbox("sleep", "300", timeout=1)
    with pytest.raises(modal.exception.SandboxTimeoutError):
        sandbox.wait()
    assert sandbox.returncode == 124


def test_a_sandbox_nobody_uses_ends(make_sandbox):
    """A sandbox that is idle for `idle_timeout` ends; running commands keep it."""
    sandbox = make_sandbox(idle_timeout=2)
    assert run(sandbox, "sh", "-c", "sleep 4; echo kept") == "kept\n"
    sandbox.wait(raise_on_termination=False)
    assert sandbox.poll() is not None


def test_names_ids_lists_and_tags(make_sandbox, sandboxes_app, client):
    """A sandbox is found by name, id, app and tags, and a name is taken while it runs."""
    sandbox = make_sandbox(name="box", tags={"kind": "test"})
    found = modal.Sandbox.from_name("sandboxes", "box", client=client)
    assert found.object_id == sandbox.object_id
    assert run(modal.Sandbox.from_id(sandbox.object_id, client=client), "echo", "hi") == "hi\n"
    assert sandbox.get_tags() == {"kind": "test"}
    sandbox.set_tags({"kind": "other", "more": "x"})

    def ids(tags) -> set[str]:
        listed = modal.Sandbox.list(app_id=sandboxes_app.app_id, tags=tags, client=client)
        return {one.object_id for one in listed}

    assert ids({"kind": "test"}) == set()
    assert ids({"kind": "other"}) == {sandbox.object_id}
    with pytest.raises(modal.exception.AlreadyExistsError, match="box"):
        make_sandbox(name="box")
    sandbox.terminate()
    sandbox.wait(raise_on_termination=False)
    with pytest.raises(modal.exception.NotFoundError):
        modal.Sandbox.from_name("sandboxes", "box", client=client)


def test_volumes_secrets_and_the_image_of_a_sandbox(make_sandbox, client):
    """A sandbox sees its volumes, the variables of its image and secrets, and its `workdir`."""
    volume = modal.Volume.from_name("sandbox-volume", create_if_missing=True, client=client)
    image = modal.Image.debian_slim().env({"FROM_IMAGE": "1"})
    sandbox = make_sandbox(
        image=image,
        volumes={"/kept": volume},
        secrets=[modal.Secret.from_dict({"FROM_SECRET": "2"})],
        env={"FROM_ENV": "3"},
        workdir="/kept",
    )
    script = "echo $FROM_IMAGE $FROM_SECRET $FROM_ENV $PWD; echo content > /kept/file"
    assert run(sandbox, "sh", "-c", script) == "1 2 3 /kept\n"
    sandbox.terminate()
    sandbox.wait(raise_on_termination=False)
    assert b"".join(volume.read_file("file")) == b"content\n"


def test_a_blocked_network_leads_nowhere(make_sandbox):
    """With `block_network` a sandbox reaches neither this machine nor anything else."""
    listener = socket.create_server(("127.0.0.1", 0))
    code = (
        "import socket, sys\n"
        f"socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}), timeout=5)"
    )
    assert run(make_sandbox(), "python", "-c", code) == ""
    blocked = make_sandbox(block_network=True)
    assert blocked.exec("python", "-c", code).wait() != 0
    listener.close()


def test_a_port_of_a_sandbox_is_reached_from_outside(make_sandbox, wait_until):
    """An unencrypted port leads to the program that listens on it in the sandbox."""
    serve = ("python", "-m", "http.server", "8000", "--directory", "/srv")
    sandbox = make_sandbox(unencrypted_ports=[8000])
    sandbox.filesystem.write_text("served", "/srv/page")
    sandbox.exec(*serve)
    host, port = sandbox.tunnels()[8000].tcp_socket

    def page() -> bytes:
        with socket.create_connection((host, port), timeout=10) as client:
            client.sendall(b"GET /page HTTP/1.0\r\n\r\n")
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        return answer

    wait_until(lambda: page().endswith(b"served"), "an answer through the tunnel")


def test_calls_that_are_not_served_fail_with_their_name(shared):
    """Another network for a running sandbox is refused at once, with the call that is not served."""
    with pytest.raises(modal.exception.Error, match="TaskSetNetworkAccess"):
        shared._experimental_set_outbound_network_policy(outbound_cidr_allowlist=["10.0.0.0/8"])


def test_a_sandbox_ends_with_its_app(plane):
    """A sandbox of an ephemeral app is gone when the app has ended."""
    code = (
        "import modal\n"
        "app = modal.App('brief')\n"
        "with app.run():\n"
        "    sandbox = modal.Sandbox.create('sleep', '300', app=app)\n"
        "sandbox.wait(raise_on_termination=False)\n"
        "print(sandbox.returncode)"
    )
    assert plane.python(code).stdout.strip() == "137"


def test_a_function_uses_a_sandbox(plane):
    """Code in a function's container makes sandboxes too, also with a network of its own."""
    code = (
        "import modal\n"
        "app = modal.App('inside')\n"
        "def use():\n"
        "    app = modal.App.lookup('inner', create_if_missing=True)\n"
        "    sandbox = modal.Sandbox.create(app=app)\n"
        "    output = sandbox.exec('echo', 'hi').stdout.read()\n"
        "    sandbox.terminate()\n"
        "    return output\n"
        "shared = app.function(serialized=True, name='shared')(use)\n"
        "alone = app.function(serialized=True, name='alone', block_network=True)(use)\n"
        "with app.run():\n"
        "    print(repr(shared.remote()), repr(alone.remote()))"
    )
    done = plane.python(code)
    assert "'hi\\n' 'hi\\n'" in done.stdout, done.stdout + done.stderr


def test_sandboxes_end_with_a_killed_plane(planes, processes, tmp_path: Path, wait_until):
    """`kill -9` of the plane leaves no process of a sandbox."""
    started = planes(tmp_path / "state")
    code = (
        "import modal\n"
        "app = modal.App.lookup('killed', create_if_missing=True)\n"
        "sandbox = modal.Sandbox.create('sleep', '300', app=app)\n"
        "sandbox.exec('sleep', '300')"
    )
    assert started.python(code).returncode == 0
    left = processes.below(started.process.pid)
    assert any(_command_line(pid).startswith("sleep") for pid in left)
    started.process.kill()
    wait_until(lambda: not any(map(processes.alive, left)), "the end of every process")


def test_sandboxes_without_namespaces(local):
    """On a machine without namespaces a sandbox is ordinary processes, and still works."""
    code = (
        "import modal\n"
        "app = modal.App.lookup('plain', create_if_missing=True)\n"
        "sandbox = modal.Sandbox.create(app=app)\n"
        "print(sandbox.exec('echo', 'hi').stdout.read())\n"
        "sandbox.terminate()"
    )
    done = local("--no-namespaces", "python", "-c", code)
    assert "hi" in done.stdout, done.stdout + done.stderr


def test_the_code_sandbox_pattern(local):
    """Code runs apart, its output and mistakes come back, and it does not reach the network."""
    done = local("modal", "run", "sandboxes.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(0, '45\\n', '')" in done.stdout
    assert "(0, \"['main.py']\\n\", '')" in done.stdout
    assert "\n1\n1\n" in done.stdout


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


SERVE = "import http.server as s; s.test(s.SimpleHTTPRequestHandler, port=8000)"


def test_an_encrypted_port_is_an_https_address(make_sandbox, trusting):
    """The tunnel's URL answers to whoever trusts the roots that programs here are given."""
    sandbox = make_sandbox(
        "python",
        "-c",
        SERVE,
        encrypted_ports=[8000],
        h2_ports=[8001],
        readiness_probe=modal.Probe.with_tcp(8000),
    )
    sandbox.wait_until_ready(timeout=60)
    tunnels = sandbox.tunnels()
    assert sorted(tunnels) == [8000, 8001]
    with urllib.request.urlopen(tunnels[8000].url, context=trusting()) as page:
        assert b"Directory listing" in page.read()


def test_an_http2_port_offers_http2(make_sandbox, trusting):
    """A client that can speak HTTP/2 is told that the port does, others speak HTTP/1.1."""
    tunnel = make_sandbox(h2_ports=[8001]).tunnels()[8001]
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")):
        context = trusting()
        context.set_alpn_protocols(offered)
        with (
            socket.create_connection(tunnel.tls_socket) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as encrypted,
        ):
            assert encrypted.selected_alpn_protocol() == chosen


@pytest.mark.parametrize("own_network", [True, False])
def test_a_port_makes_a_sandbox_ready(make_sandbox, own_network):
    """`wait_until_ready` returns when the probed port takes connections, not before."""
    late = "import time; time.sleep(0.5); " + SERVE.replace("8000", "8732")
    sandbox = make_sandbox(
        "python",
        "-c",
        late,
        readiness_probe=modal.Probe.with_tcp(8732),
        unencrypted_ports=[8732] if own_network else [],
    )
    with pytest.raises(modal.exception.TimeoutError):
        sandbox.wait_until_ready(timeout=0.2)
    sandbox.wait_until_ready(timeout=60)
    code = "import socket; socket.create_connection(('127.0.0.1', 8732))"
    run(sandbox, "python", "-c", code)


def test_a_command_makes_a_sandbox_ready(make_sandbox):
    """The probe's command is run again and again until it succeeds; it has the sandbox's files."""
    probe = modal.Probe.with_exec("sh", "-c", "echo x >> /tmp/asked; test -f /tmp/ready")
    sandbox = make_sandbox(
        "sh", "-c", "sleep 0.5; touch /tmp/ready; sleep 60", readiness_probe=probe
    )
    sandbox.wait_until_ready(timeout=60)
    asked = run(sandbox, "cat", "/tmp/asked").count("x")
    assert asked > 1
    assert run(sandbox, "cat", "/tmp/asked").count("x") == asked


def test_readiness_of_what_cannot_be_ready(make_sandbox):
    """Without a probe, or when the sandbox ends first, waiting fails and says why."""
    with pytest.raises(modal.exception.Error, match="has no readiness probe"):
        make_sandbox("sleep", "60").wait_until_ready(timeout=5)
    brief = make_sandbox("sleep", "1", readiness_probe=modal.Probe.with_exec("false"))
    with pytest.raises(modal.exception.Error, match="ended before it was ready"):
        brief.wait_until_ready(timeout=60)


def test_a_command_at_a_terminal(shared):
    """With ``pty`` a command has a terminal of the client's kind, with jobs, and one stream."""
    code = "import os, sys; print(os.isatty(0), os.isatty(2), os.tcgetpgrp(0) == os.getpgrp())"
    process = shared.exec("python", "-c", code, pty=True)
    assert process.stdout.read() == "True True True\r\n"
    assert process.wait() == 0


def test_what_is_typed_at_a_terminal(shared):
    """Input is echoed and read by line; the end of input and Ctrl-C mean what they do at one."""
    process = shared.exec("cat", pty=True)
    process.stdin.write("typed\n")
    process.stdin.write_eof()
    process.stdin.drain()
    assert process.stdout.read() == "typed\r\ntyped\r\n"
    assert process.wait() == 0
    sleeping = shared.exec("sh", "-c", "echo asleep; exec sleep 600", pty=True)
    assert next(iter(sleeping.stdout)) == "asleep\r\n"
    sleeping.stdin.write(b"\x03")
    sleeping.stdin.drain()
    assert sleeping.wait() == 128 + signal.SIGINT


def test_a_program_that_is_not_there_at_a_terminal(shared):
    """It fails as in a shell."""
    process = shared.exec("no-such-program", pty=True)
    assert "No such file" in process.stdout.read()
    assert process.wait() == 127


def test_a_sandbox_at_a_terminal(make_sandbox):
    """A sandbox's own command can have one too."""
    sandbox = make_sandbox("sh", "-c", "test -t 0 && echo at a terminal", pty=True)
    assert sandbox.stdout.read() == "at a terminal\r\n"
    sandbox.wait()


def test_an_ended_sandbox_is_read_by_its_id(make_sandbox, client):
    """Whoever has the id of a sandbox that ended gets its output and its exit code."""
    sandbox = make_sandbox("sh", "-c", "echo out; echo err >&2; exit 4")
    sandbox.wait()
    again = modal.Sandbox.from_id(sandbox.object_id, client=client)
    assert (again.stdout.read(), again.stderr.read()) == ("out\n", "err\n")
    assert again.returncode == again.poll() == 4
    with pytest.raises(modal.exception.Error):
        again.exec("true")


def test_a_sandbox_reloads_its_volumes(make_sandbox, client):
    """`reload_volumes` shows a running sandbox what was committed since it began."""
    volume = modal.Volume.from_name("of-a-sandbox", create_if_missing=True, client=client)
    sandbox = make_sandbox("sleep", "300", volumes={"/data": volume})
    with volume.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(b"newer"), "/later")
    sandbox.reload_volumes()
    assert run(sandbox, "cat", "/data/later") == "newer"
