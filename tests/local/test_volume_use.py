"""Volumes and buckets in whole programs: long histories, several planes, killed planes, no namespaces."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from modalkit.local.processes.isolation import Isolation


@pytest.fixture(scope="session")
def namespaces(tmp_path_factory) -> None:
    """Skip where this machine allows no namespaces: volumes are shared folders there."""
    if not Isolation.probe(tmp_path_factory.mktemp("probe")).namespaces:
        pytest.skip("this machine allows no namespaces")


@pytest.fixture
def here(local, state_folder, tmp_path: Path):
    """Run ``modalkit local ...`` several times with one state folder, and with a program on disk."""

    def run(*words: str, program: str = "", fails: bool = False) -> str:
        if program:
            (tmp_path / "program.py").write_text(program)
        filled = [word.replace("PROGRAM", str(tmp_path / "program.py")) for word in words]
        done = local(*filled, COLUMNS="200")
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


HISTORY = """
import modal, os, random, shutil, sys
from pathlib import Path

app = modal.App("history")
volume = modal.Volume.from_name("history", create_if_missing=True)

def entries(root):
    return {str(p.relative_to(root)): p.read_text() if p.is_file() else None
            for p in sorted(root.rglob("*"))}

def change(chance, root):
    "Do one random thing to a tree; the same for the same chance."
    paths = [str(p.relative_to(root)) for p in sorted(root.rglob("*"))]
    name = "/".join(chance.choice("abc") for _ in range(chance.randint(1, 3)))
    what, old = chance.choice("wwwarmkt"), chance.choice([*paths, ""])
    value = str(chance.random())
    try:
        if what == "w":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(value)
        elif what == "a" and old:
            with (root / old).open("a") as out:
                out.write(value)
        elif what == "r" and old:
            shutil.rmtree(root / old) if (root / old).is_dir() else (root / old).unlink()
        elif what == "m" and old and not (root / name).exists() and not name.startswith(old):
            shutil.move(root / old, root / name)
        elif what == "k":
            (root / name).mkdir(parents=True)
        elif what == "t" and old and (root / old).is_file():
            os.truncate(root / old, 3)
    except (FileExistsError, NotADirectoryError, IsADirectoryError, FileNotFoundError):
        pass

@app.function(volumes={"/data": volume}, timeout=600)
def live(seed: int) -> int:
    data, mirror, chance = Path("/data"), Path("/tmp/mirror"), random.Random(seed)
    mirror.mkdir(exist_ok=True)
    shutil.rmtree(mirror)
    shutil.copytree(data, mirror)
    held, commits = None, 0
    for number in range(300):
        here, there = random.Random(f"{seed} {number}"), random.Random(f"{seed} {number}")
        change(here, data)
        change(there, mirror)
        if chance.random() < 0.2:
            path = chance.choice([p for p in data.rglob("*") if p.is_file()] or [None])
            if held:
                held.close()
            held = path.open() if path and chance.random() < 0.5 else None
            volume.commit()
            commits += 1
            shown = {e.path for e in volume.listdir("/", recursive=True)}
            assert shown == set(entries(mirror)), (number, shown ^ set(entries(mirror)))
        assert entries(data) == entries(mirror), number
    volume.commit()
    return commits

@app.function(volumes={"/data": volume})
def show() -> dict:
    volume.reload()
    return entries(Path("/data"))

@app.local_entrypoint()
def main():
    for seed in (1, 2):
        assert live.remote(seed) > 20
        committed = show.remote()
        assert committed
        for path, text in committed.items():
            if text is not None:
                assert b"".join(volume.read_file(path)).decode() == text
        print("seed", seed, "left", len(committed), "entries")
"""


def test_a_long_history_leaves_what_a_plain_folder_would(here, namespaces):
    """Hundreds of random changes, with commits in between, leave the tree that they leave elsewhere."""
    said = here("modal", "run", "PROGRAM", program=HISTORY)
    assert "seed 2 left" in said


COMMITTING = """
import modal
app = modal.App("committing")
volume = modal.Volume.from_name("killed", create_if_missing=True)

@app.function(volumes={"/data": volume})
def commit_forever():
    print("committing")
    for number in range(1_000_000):
        for name in "abcdefgh":
            with open(f"/data/{name}", "w") as out:
                out.write(str(number))
        volume.commit()

@app.local_entrypoint()
def main():
    commit_forever.remote()
"""


@pytest.mark.parametrize("after", [0.3, 0.61, 0.87])
def test_a_killed_plane_leaves_a_whole_volume(
    start_local, processes, wait_until, tmp_path: Path, after
):
    """`kill -9` of the plane while a container commits: no orphans, and one commit's files exactly."""
    (tmp_path / "committing.py").write_text(COMMITTING)
    state = ["--state", str(tmp_path / "state")]
    plane = start_local(*state, "modal", "run", str(tmp_path / "committing.py"))
    for line in plane.stdout:
        if "committing" in line and "run" not in line:
            break
    everyone = processes.below(plane.pid)
    time.sleep(after)
    plane.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(processes.alive, everyone)), "everything ended")
    code = (
        "import modal; v = modal.Volume.from_name('killed');"
        "print({e.path: b''.join(v.read_file(e.path)).decode() for e in v.listdir('/')})"
    )
    after_it = start_local(*state, "python", "-c", code)
    said = after_it.communicate(timeout=120)[0]
    found = eval(next(line for line in said.splitlines() if line.startswith("{")))
    assert set(found) in (set(), set("abcdefgh"))
    assert len(set(found.values())) <= 1


SHARED = """
import modal
from pathlib import Path

app = modal.App("shared-use")
one = modal.Volume.from_name("one", create_if_missing=True)
two = modal.Volume.from_name("two", create_if_missing=True)

@app.function(volumes={"/a": one, "/deep/er/b": two})
def write():
    Path("/a/x").write_text("from one")
    Path("/deep/er/b/y").write_text("from two")

@app.function(volumes={"/elsewhere": one, "/z": two.with_mount_options(read_only=True)})
def read():
    one.reload()
    two.reload()
    return Path("/elsewhere/x").read_text() + ", " + Path("/z/y").read_text()

@app.function(volumes={"/a": one})
def write_again():
    Path("/a/late").write_text("written, and not committed by name")

@app.local_entrypoint()
def main():
    write.remote()
    with one.batch_upload(force=True) as batch:
        batch.put_file(__file__, "/program.py")
    print("committed:", sorted(entry.path for entry in one.listdir("/")))
    write_again.remote()
"""


def test_volumes_at_several_paths(here):
    """One function mounts several volumes, several functions one, each where it says."""
    here("modal", "run", "PROGRAM", program=SHARED)
    assert here("modal", "volume", "ls", "one").split() == ["late", "program.py", "x"]
    again = SHARED + '    print("read:", read.remote())\n'
    assert "read: from one, from two" in here("modal", "run", "PROGRAM", program=again)
    assert "from one" in here("modal", "volume", "get", "one", "x", "-")
    assert "from two" in here("modal", "volume", "get", "two", "y", "-")


def test_without_namespaces_a_volume_is_one_folder(here):
    """Writes of plain processes are committed at once; what was committed before is there."""
    here("modal", "run", "PROGRAM", program=SHARED)
    here("--no-namespaces", "modal", "run", "PROGRAM::write_again")
    assert here("--no-namespaces", "modal", "volume", "ls", "one").split() == [
        "late",
        "program.py",
        "x",
    ]
    here("--no-namespaces", "modal", "volume", "rm", "one", "/x")
    here("--no-namespaces", "modal", "volume", "cp", "one", "/late", "/later")
    assert here("modal", "volume", "ls", "one").split() == ["late", "later", "program.py"]


BUCKETS = """
import modal
from pathlib import Path

app = modal.App("buckets")
bucket = modal.CloudBucketMount("my-bucket")
inner = modal.CloudBucketMount("my-bucket", key_prefix="deep/er/", read_only=True)

@app.function(volumes={"/all": bucket})
def write():
    Path("/all/deep/er").mkdir(parents=True, exist_ok=True)
    Path("/all/deep/er/file").write_text("in the bucket")

@app.function(volumes={"/all": bucket, "/inner": inner})
def read():
    try:
        Path("/inner/new").write_text("no")
    except OSError as error:
        print("refused:", error.strerror)
    return Path("/inner/file").read_text()

@app.local_entrypoint()
def main():
    write.remote()
    print("read:", read.remote())
"""


def test_a_bucket_is_a_folder(here, namespaces):
    """A bucket keeps what is written at once; a prefix is a folder in it; read-only is refused."""
    said = here("modal", "run", "PROGRAM", program=BUCKETS)
    assert "read: in the bucket" in said
    assert "refused: Read-only file system" in said


def test_two_planes_share_a_volume(start_local, tmp_path: Path):
    """Two commands with one state folder commit to one volume, and lose nothing of each other."""
    state = ["--state", str(tmp_path / "state")]
    program = """
import modal
app = modal.App("NAME")
volume = modal.Volume.from_name("both", create_if_missing=True)

@app.function(volumes={"/data": volume})
def write():
    for number in range(15):
        open(f"/data/NAME-{number}", "w").write("x")
        volume.commit()

@app.local_entrypoint()
def main():
    write.remote()
"""
    both = []
    for name in ("left", "right"):
        (tmp_path / f"{name}.py").write_text(program.replace("NAME", name))
        both.append(start_local(*state, "modal", "run", str(tmp_path / f"{name}.py")))
    for plane in both:
        said = plane.communicate(timeout=120)[0]
        assert plane.returncode == 0, said
    listed = start_local(*state, "modal", "volume", "ls", "both").communicate(timeout=120)[0]
    expected = {f"{name}-{number}" for name in ("left", "right") for number in range(15)}
    assert expected <= set(listed.split())


def test_state_is_left_clean(here, state_folder):
    """After a command no mount of it is left in the state folder, and one layer stack a volume."""
    here("modal", "run", "PROGRAM", program=SHARED)
    newest = max(state_folder.iterdir(), key=lambda folder: folder.stat().st_mtime)
    for volume in (newest / "volumes").iterdir():
        assert list((volume / "mounts").iterdir()) == []
