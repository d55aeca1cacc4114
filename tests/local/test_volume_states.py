"""The committed state of a volume on disk: whole whatever happens, at a cost that follows the change."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from grpclib.exceptions import GRPCError
from hypothesis import given, settings
from hypothesis import strategies as st

from modalkit.local.volumes.changes import Change
from modalkit.local.volumes.generations import Generations
from modalkit.local.volumes.stacks import find, walk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="layers need Linux")

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PUT = st.tuples(st.just("put"), PATHS, st.integers(0, 9))
REMOVE = st.tuples(st.just("remove"), PATHS, st.just(0))


def change(volume: Generations, work) -> None:
    with volume.locked(), volume.new_layer() as layer:
        work(Change(volume.stack(), layer, layered=True))


def contents(volume: Generations) -> dict[str, str]:
    shown = walk(volume.stack(), recursive=True)
    return {path: file.read_text() for path, file in shown if file.is_file()}


@settings(max_examples=60, deadline=None)
@given(commits=st.lists(st.lists(PUT | REMOVE, min_size=1, max_size=4), max_size=25))
def test_a_volume_is_a_dict_of_files(tmp_path_factory, commits):
    """Any sequence of commits leaves what the same changes leave in a dictionary."""
    volume = Generations(tmp_path_factory.mktemp("volume"))
    volume.create()
    model: dict[str, str] = {}
    for steps in commits:
        after = dict(model)

        def work(to: Change, steps=steps, after=after) -> None:
            for kind, path, value in steps:
                step(to, after, kind, path, value)

        try:
            change(volume, work)
        except GRPCError:
            continue  # one step was refused, and with it the whole commit
        model = after
        assert contents(volume) == model
    with volume.locked():
        volume.flatten()
    assert contents(volume) == model
    assert len(volume.stack()) == 1


def step(to: Change, model: dict[str, str], kind: str, path: str, value: int) -> None:
    if kind == "remove":
        to.remove(path, recursive=True)
        for name in list(model):
            if name == path or name.startswith(f"{path}/"):
                del model[name]
    else:
        to.target(path, overwrite=True).write_text(str(value))
        model[path] = str(value)


def test_layers_stay_few_and_old_ones_go(tmp_path: Path):
    """A thousand commits of one file each leave about log2(1000) layers, and no other."""
    volume = Generations(tmp_path)
    volume.create()
    for number in range(1000):
        change(volume, lambda to, n=number: to.target(f"f{n}", overwrite=True).write_text("x"))
    assert len(volume.stack()) <= 11
    assert len(contents(volume)) == 1000
    kept = {path.name for path in (tmp_path / "layers").iterdir()}
    assert kept == {path.name for path in volume.stack()}


def test_what_a_mount_sees_stays_until_it_is_released(tmp_path: Path):
    """Commits and merges leave alone what a container sees; its release frees it."""
    volume = Generations(tmp_path)
    volume.create()
    change(volume, lambda to: to.target("f", overwrite=True).write_text("old"))
    with volume.locked():
        lease = volume.lease("", writable=True)
    for number in range(20):
        change(volume, lambda to, n=number: to.target("f", overwrite=True).write_text(str(n)))
    assert find(lease.stack, "f")[0].read_text() == "old"
    with volume.locked():
        volume.release(lease)
    assert not lease.stack[0].exists()
    assert contents(volume) == {"f": "19"}


COMMITTER = """
import os, sys
from pathlib import Path
from modalkit.local.volumes.changes import Change
from modalkit.local.volumes.generations import Generations
from modalkit.local.volumes.stacks import find

volume = Generations(Path(sys.argv[1]))
volume.create()
print("started", flush=True)
for number in range(int(sys.argv[3])):
    with volume.locked(), volume.new_layer() as layer:
        to = Change(volume.stack(), layer, layered=True)
        if number:
            to.remove(f"{sys.argv[2]}/only-{number - 1}", recursive=False)
        elif find(volume.stack(), sys.argv[2]):
            to.remove(sys.argv[2], recursive=True)
        for name in "abcdefgh":
            to.target(f"{sys.argv[2]}/{name}", overwrite=True).write_text(str(number))
        to.target(f"{sys.argv[2]}/only-{number}", overwrite=True).write_text(str(number))
"""


def committer(folder: Path, name: str, commits: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMITTER, str(folder), name, str(commits)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def test_a_kill_at_any_moment_leaves_a_whole_state(tmp_path: Path):
    """Killed while it commits, a process leaves the old or the new state of every file, never both."""
    chance = random.Random(4)
    for _ in range(25):
        process = committer(tmp_path, "x", 100_000)
        time.sleep(chance.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = contents(Generations(tmp_path))
        values = set(found.values())
        assert len(values) <= 1
        if values:
            assert set(found) == {f"x/{name}" for name in "abcdefgh"} | {f"x/only-{values.pop()}"}
    change(Generations(tmp_path), lambda to: to.remove("x", recursive=True))
    assert contents(Generations(tmp_path)) == {}
    assert len(list((tmp_path / "layers").iterdir())) <= 2


def test_processes_commit_at_the_same_time(tmp_path: Path):
    """Commits of several processes to one volume add up; none is lost."""
    Generations(tmp_path).create()
    processes = [committer(tmp_path, name, 30) for name in ("one", "two", "three")]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    found = contents(Generations(tmp_path))
    assert set(found.values()) == {"29"}
    assert len(found) == 3 * 9


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of its own with little room."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


FILLING = """
import modal
app = modal.App("filling")
volume = modal.Volume.from_name("full", create_if_missing=True)

@app.function(volumes={"/data": volume})
def fill():
    open("/data/first", "w").write("committed")
    volume.commit()
    large = open("/data/large", "w")
    large.write("x" * 9_000_000)
    large.flush()
    try:
        volume.commit()  # the file is open and has to be copied
    except RuntimeError as error:
        print("refused:", error)
    print("kept:", len(open("/data/large").read()))
    large.close()
    volume.commit()  # needs no room any more
    print("committed after closing")

@app.local_entrypoint()
def main():
    fill.remote()
"""


def test_a_full_disk_is_an_error_and_harms_nothing(small_disk, tmp_path: Path):
    """A commit that finds no room says so; the committed state and the container's files stay."""
    (tmp_path / "filling.py").write_text(FILLING)

    def local(*words: str) -> str:
        command = [sys.executable, "-c", "from modalkit.cli import main; main()", "local"]
        done = subprocess.run(
            [*command, "--state", str(small_disk / "state"), "--exit", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (small_disk / "ballast").write_bytes(bytes(8_000_000))
    said = local("modal", "run", str(tmp_path / "filling.py"))
    if "/data/large" in said and "No space" not in said:
        pytest.skip("no overlay on a file system in memory here")
    assert "could not be committed: No space left on device" in said
    assert "kept: 9000000" in said
    assert "committed after closing" in said
    assert local("modal", "volume", "ls", "full").split() == ["first", "large"]
