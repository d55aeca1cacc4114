"""What containers see of files, volumes, variables and each other."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import modal
import pytest

from modalkit.local.processes.isolation import Isolation


@pytest.fixture(scope="session")
def namespaces(tmp_path_factory) -> None:
    """Skip where this machine allows no namespaces."""
    if not Isolation.probe(tmp_path_factory.mktemp("probe")).namespaces:
        pytest.skip("this machine allows no namespaces")


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/opt/baked/note.txt", "a note\n"),
        ("/models/material/note.txt", "a note\n"),
        ("/models/material/inner/deep.txt", "deeper\n"),
        ("/models/renamed.txt", "a note\n"),
    ],
)
def test_added_files_are_where_they_were_put(function, path, content):
    """Files added to an image are at their absolute paths, copied or mounted."""
    assert function("world", "look").remote(path) == content
    assert not Path(path).exists()


def test_code_is_at_root(function, namespaces):
    """The app's file is in /root, and this machine's /root is not."""
    assert "world.py" in function("world", "look").remote("/root")


def test_image_variables_and_folder(function):
    """ENV and WORKDIR of an image are honoured."""
    assert function("world", "variable").remote("GREETING") == "hello from the image"


def test_python_is_on_path(function):
    """A program that runs `python` gets its container's own, however the plane was started."""
    found, own = function("world", "python_on_path").remote()
    assert found is not None
    assert Path(found).parent == Path(own).parent


def _policy_after_taking_turns(chosen: str) -> int:
    """Return the scheduling policy of a process that was given one and then takes turns."""
    code = (
        "import os\n"
        "from modalkit.local.processes.turns import take_turns\n"
        f"os.sched_setscheduler(0, os.{chosen}, os.sched_param(0))\n"
        "take_turns()\n"
        "print(os.sched_getscheduler(0))\n"
    )
    return int(subprocess.check_output([sys.executable, "-c", code]))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such policy")
def test_containers_take_turns_on_busy_processors(function):
    """A container interrupts nobody when it is woken; the program that calls it is as it was."""
    before = os.sched_getscheduler(0)
    assert _policy_after_taking_turns("SCHED_OTHER") == os.SCHED_BATCH
    planes = os.SCHED_BATCH if before == os.SCHED_OTHER else before  # it is started from here
    assert function("world", "policy").remote() == planes
    assert os.sched_getscheduler(0) == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such policy")
def test_a_policy_that_somebody_chose_stays():
    """Who starts a local Modal with `chrt --idle` has an idle one."""
    assert _policy_after_taking_turns("SCHED_IDLE") == os.SCHED_IDLE


def test_working_folder(function, namespaces):
    """The working folder is the image's."""
    assert function("world", "folder").remote() == "/work/here"


def test_secrets_are_merged_in_order(function):
    """A later secret wins over an earlier one, and both over the image."""
    variable = function("world", "variable")
    assert variable.remote("TOKEN") == "from a dict"
    assert variable.remote("SHARED") == "second secret"


def test_a_missing_secret_is_taken_from_the_planes_surroundings(function):
    """A secret that was never created comes from the plane's variables if all keys are there."""
    assert function("world", "variable").remote("TEST_SECRET_FROM_HOST") == "from the host"


def test_other_variables_of_this_machine_stay_out(function, monkeypatch):
    """A container does not inherit variables that it would not have on Modal."""
    assert function("world", "variable").remote("PYTEST_CURRENT_TEST") is None
    assert function("world", "variable").remote("MODAL_TOKEN_SECRET") is None


def test_a_volume_is_shared_and_lasts(function, client):
    """What one container writes another reads, and the client too."""
    assert function("world", "write").remote("/data/sub/file.txt", "kept") == "written"
    assert function("world", "look").remote("/data/sub/file.txt") == "kept"
    volume = modal.Volume.from_name("shared", client=client)
    assert [entry.path for entry in volume.listdir("/", recursive=True)] == ["sub", "sub/file.txt"]
    assert b"".join(volume.read_file("sub/file.txt")) == b"kept"
    assert not Path("/data/sub/file.txt").exists()


def test_a_read_only_volume_cannot_be_written(function, namespaces):
    """A read-only mount refuses writes."""
    assert function("world", "write").remote("/fixed/below/x", "no") == "Read-only file system"


def test_writes_outside_volumes_stay_in_the_container(function, namespaces):
    """A container may write anywhere; nothing of it reaches this machine."""
    for path in ("/etc/modalkit-test", "/tmp/modalkit-test", "/new-top/modalkit-test"):
        assert function("world", "write").remote(path, "gone soon") == "written"
        assert not Path(path).exists()


def test_nothing_of_the_machine_can_be_changed(function, namespaces):
    """Not even below devices, kernel settings and other file systems that are mounted somewhere."""
    name = f"mark-{uuid.uuid4().hex}"
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    top = [str(folder) for folder in Path("/").iterdir() if folder.is_dir()]
    marked = function("world", "leave_marks").remote(name, [*top, *mounted])
    assert "/usr" in marked
    left = [folder for folder in [*top, *mounted] if Path(folder, name).exists()]
    for folder in left:
        Path(folder, name).rmdir()
    assert left == []


def test_devices_work(function, namespaces):
    """What cannot be removed can still be written to and read."""
    assert function("world", "write").remote("/dev/null", "gone") == "written"
    assert function("world", "look").remote("/dev/null") == ""


def test_containers_see_their_own_processes_only(function, namespaces):
    """A container has a process table of its own."""
    assert function("world", "processes").remote() < 10


def test_without_namespaces_paths_are_links_while_containers_run(local):
    """As a plain process a container finds the same files, and the links are gone afterwards."""
    done = local(
        "--no-namespaces",
        "modal",
        "run",
        "world.py::look",
        "--path",
        "/models/material/inner/deep.txt",
        TEST_SECRET_FROM_HOST="x",
    )
    assert done.returncode == 0, done.stderr
    assert "containers have no namespaces here" in done.stderr
    assert not Path("/models/material").exists()
