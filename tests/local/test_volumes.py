"""What containers see of a volume: commits, reloads, and each other's changes."""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import modal
import pytest

from modalkit.local.processes.isolation import Isolation

SERIAL = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def namespaces(tmp_path_factory) -> None:
    """Skip where this machine allows no namespaces: volumes are shared folders there."""
    if not Isolation.probe(tmp_path_factory.mktemp("probe")).namespaces:
        pytest.skip("this machine allows no namespaces")


@dataclass
class Table:
    """A volume of the test's own, and containers around it."""

    seat: modal.Cls
    volume: modal.Volume

    def __call__(self, name: str, **options):
        """Return a function that runs code in the container ``name``."""
        mounted = self.volume.with_mount_options(**options)
        container = self.seat.with_options(volumes={"/data": mounted})(name=name)

        def do(code: str) -> object:
            return container.do.remote(self.volume.object_id, code)

        return do

    @property
    def committed(self) -> dict[str, str]:
        """Every committed file and what is in it."""
        return {
            entry.path: b"".join(self.volume.read_file(entry.path)).decode()
            for entry in self.volume.listdir("/", recursive=True)
            if entry.type == modal.volume.FileEntryType.FILE
        }


@pytest.fixture(params=[1, 2])
def table(request, cls, client):
    name = f"table-{next(SERIAL)}"
    volume = modal.Volume.from_name(
        name, create_if_missing=True, version=request.param, client=client
    )
    return Table(cls("volumes", "Seat"), volume.hydrate(client))


@pytest.fixture
def quick_table(cls, client):
    """A table for what does not depend on the volume's version."""
    name = f"table-{next(SERIAL)}"
    volume = modal.Volume.from_name(name, create_if_missing=True, client=client)
    return Table(cls("volumes", "Seat"), volume.hydrate(client))


READ = "result = sorted((str(p.relative_to(data)), p.read_text()) for p in data.rglob('*') if p.is_file())"


def test_writes_are_seen_after_commit_and_reload(table):
    """Others see a write when its container committed it and they reloaded, and not before."""
    writer, reader = table("writer"), table("reader")
    assert reader(READ) == []
    writer("(data / 'a').write_text('one')")
    reader("volume.reload()")
    assert (reader(READ), table.committed) == ([], {})
    writer("volume.commit()")
    assert table.committed == {"a": "one"}
    assert reader(READ) == []
    assert reader("volume.reload();" + READ) == [("a", "one")]
    assert table("latecomer")(READ) == [("a", "one")]


def test_a_container_goes_on_with_what_it_committed(quick_table):
    """After a commit a container appends to, replaces, renames and removes what it committed."""
    one = quick_table("one")
    one("(data / 'd').mkdir(); (data / 'd/a').write_text('1'); (data / 'b').write_text('2')")
    one("volume.commit()")
    one("(data / 'd/a').open('a').write('+'); (data / 'b').rename(data / 'c'); volume.commit()")
    assert quick_table.committed == {"d/a": "1+", "c": "2"}
    one("shutil.move(data / 'd', data / 'e'); (data / 'e/new').write_text('n'); volume.commit()")
    assert quick_table.committed == {"e/a": "1+", "e/new": "n", "c": "2"}
    one("shutil.rmtree(data / 'e'); (data / 'e').mkdir(); (data / 'e/z').write_text('z')")
    one("(data / 'c').unlink(); volume.commit()")
    assert quick_table.committed == {"e/z": "z"}
    assert one(READ) == [("e/z", "z")]


@pytest.mark.skipif(os.geteuid() != 0, reason="without root the kernel refuses this (EXDEV)")
def test_committed_folders_are_renamed(quick_table):
    """os.rename takes a committed folder along, again and again, with what others add to it."""
    one, two = quick_table("one"), quick_table("two")
    one("(data / 'd/deep').mkdir(parents=True); (data / 'd/deep/a').write_text('1')")
    one("(data / 'd/b').write_text('2'); volume.commit(); (data / 'd').rename(data / 'e')")
    one(
        "(data / 'e/deep').rename(data / 'out'); (data / 'e/b').unlink(); held = open('/data/log', 'w')"
    )
    one("volume.commit()")
    assert quick_table.committed == {"out/a": "1", "log": ""}
    one("(data / 'out/a').open('a').write('+'); volume.commit()")
    two("volume.reload(); (data / 'out/theirs').write_text('t'); volume.commit()")
    one("held.close(); volume.commit(); (data / 'out').rename(data / 'd'); volume.commit()")
    assert quick_table.committed == {"d/a": "1+", "d/theirs": "t", "log": ""}


def test_concurrent_writers_merge_and_the_last_commit_wins(quick_table):
    """Commits of different files add up; for one file the last commit wins."""
    one, two = quick_table("one"), quick_table("two")
    one("(data / 'mine').write_text('1'); (data / 'both').write_text('from one')")
    two("(data / 'yours').write_text('2'); (data / 'both').write_text('from two')")
    two("volume.commit()")
    one("volume.commit()")
    assert quick_table.committed == {"mine": "1", "yours": "2", "both": "from one"}
    two("(data / 'yours').unlink(); volume.commit()")
    assert quick_table.committed == {"mine": "1", "both": "from one"}


def test_a_commit_takes_only_what_changed_since_the_last_one(quick_table):
    """A file that is not touched again does not overwrite another container's newer version."""
    one, two = quick_table("one"), quick_table("two")
    one("(data / 'a').write_text('old'); held = (data / 'log').open('w'); volume.commit()")
    two("volume.reload(); (data / 'a').write_text('new'); volume.commit()")
    one("held.write('more'); held.flush(); volume.commit()")
    assert quick_table.committed == {"a": "new", "log": "more"}
    one("held.close(); (data / 'b').write_text('b'); volume.commit()")
    assert quick_table.committed == {"a": "new", "b": "b", "log": "more"}
    assert dict(one(READ))["a"] == "new"


def test_changing_one_committed_file_keeps_its_neighbours(quick_table):
    """A container that opens one file of a committed folder for writing takes nothing else along."""
    quick_table("one")(
        "(data / 'a/b').mkdir(parents=True); (data / 'a/b/x').write_text('x');"
        "(data / 'a/lock').touch(); volume.commit()"
    )
    for name in ("two", "three"):
        another = quick_table(name)
        another("os.close(os.open('/data/a/lock', os.O_RDWR | os.O_CREAT)); volume.commit()")
        assert quick_table.committed == {"a/b/x": "x", "a/lock": ""}
        assert dict(another(READ)) == {"a/b/x": "x", "a/lock": ""}


def test_open_files_survive_a_commit(quick_table):
    """A log that stays open is committed as it is, and written on."""
    one = quick_table("one")
    one("held = (data / 'log').open('w'); (data / 'gone').write_text('x')")
    for count in range(1, 4):
        one(f"held.write('{count}'); held.flush(); volume.commit()")
        assert quick_table.committed["log"] == "123"[:count]
    one("(data / 'gone').unlink(); volume.commit()")
    assert quick_table.committed == {"log": "123"}


@pytest.mark.parametrize(
    "holding",
    [
        "held = (data / 'f').open()",
        "os.chdir(data)",
        "import mmap; f = (data / 'f').open(); held = mmap.mmap(f.fileno(), 0, prot=1); f.close()",
        "import subprocess; held = subprocess.Popen(['sleep', '100'], cwd=data)",
    ],
)
def test_reload_is_refused_while_something_is_open(quick_table, holding):
    """An open file, a working folder or a mapping below the mount stands in a reload's way."""
    one, two = quick_table("one"), quick_table("two")
    two("(data / 'f').write_text('first'); volume.commit()")
    one(holding)
    two("(data / 'f').write_text('second'); volume.commit()")
    with pytest.raises(
        RuntimeError, match=r"there are open files preventing the operation: .*data"
    ):
        one("volume.reload()")
    assert one(READ) == [("f", "first")]
    one("os.chdir('/')\nif 'close' in dir(globals().get('held')): held.close()")
    one("if 'kill' in dir(globals().get('held')): held.kill(); held.wait()")
    one("volume.reload()")
    assert one(READ) == [("f", "second")]


def test_reload_commits_what_was_not_committed(quick_table):
    """Modal may commit at a reload; here it does, so nothing is lost."""
    one = quick_table("one")
    one("(data / 'kept').write_text('k'); volume.reload()")
    assert one(READ) == [("kept", "k")]
    assert quick_table.committed == {"kept": "k"}


def test_a_clean_exit_commits(local, tmp_path: Path):
    """What a container wrote and never committed is there when it ended by itself."""
    (tmp_path / "exits.py").write_text(EXITS)
    done = local("modal", "run", str(tmp_path / "exits.py"))
    assert done.returncode == 0, done.stdout + done.stderr
    listed = local("modal", "volume", "ls", "exits")
    assert listed.stdout.split() == ["from-exit", "from-function"]


EXITS = """
import modal
app = modal.App("exits")
volume = modal.Volume.from_name("exits", create_if_missing=True)

@app.cls(volumes={"/data": volume})
class Exits:
    @modal.exit()
    def leave(self):
        open("/data/from-exit", "w").write("x")

    @modal.method()
    def work(self):
        open("/data/from-function", "w").write("x")

@app.local_entrypoint()
def main():
    Exits().work.remote()
"""


def test_a_killed_container_loses_only_what_it_did_not_commit(quick_table):
    """Work up to the last commit survives `kill -9`."""
    one = quick_table("one")
    one("(data / 'safe').write_text('s'); volume.commit(); (data / 'lost').write_text('l')")
    with pytest.raises(Exception, match=r"ended with signal|exit code"):
        one(f"os.kill(os.getpid(), {signal.SIGKILL.value})")
    assert quick_table.committed == {"safe": "s"}
    assert quick_table("other")(READ) == [("safe", "s")]


def test_a_read_only_mount(quick_table):
    """A read-only mount refuses every write, can be reloaded, and commits nothing."""
    reader = quick_table("reader", read_only=True)
    for write in ("(data / 'x').write_text('x')", "(data / 'd').mkdir()"):
        with pytest.raises(OSError, match="Read-only file system"):
            reader(write)
    quick_table("writer")("(data / 'a').write_text('1'); volume.commit()")
    assert reader("volume.commit(); volume.reload();" + READ) == [("a", "1")]
    with pytest.raises(OSError, match="Read-only file system"):
        reader("(data / 'a').unlink()")


def test_a_sub_path_mount(quick_table):
    """A mount of a sub-path shows and changes that folder only, which is made when missing."""
    user, whole = quick_table("user", sub_path="users/ann"), quick_table("whole")
    assert user(READ) == []
    assert [entry.path for entry in quick_table.volume.listdir("/", recursive=True)] == [
        "users",
        "users/ann",
    ]
    user("(data / 'notes').mkdir(); (data / 'notes/a').write_text('1'); volume.commit()")
    whole("volume.reload(); (data / 'other').write_text('o')")
    whole("shutil.move(data / 'users/ann/notes', data / 'users/ann/moved'); volume.commit()")
    assert user("volume.reload();" + READ) == [("moved/a", "1")]
    assert quick_table.committed == {"users/ann/moved/a": "1", "other": "o"}


def test_changes_from_outside_are_commits(quick_table):
    """What the API puts and removes, a running container sees after a reload."""
    one = quick_table("one")
    assert one(READ) == []
    with quick_table.volume.batch_upload() as batch:
        batch.put_file(__file__, "/up/loaded.py")
    assert one(READ) == []
    assert [name for name, _ in one("volume.reload();" + READ)] == ["up/loaded.py"]
    quick_table.volume.remove_file("up", recursive=True)
    assert one("volume.reload();" + READ) == []


def test_other_threads_never_meet_the_mount_point_without_its_volume(quick_table):
    """While a container commits and reloads, its other threads always find their files."""
    one = quick_table("one")
    one("(data / 'here').write_text('h'); volume.commit()")
    assert one(LOOKING) == []


LOOKING = """
import threading
missing, over = [], threading.Event()

def look():
    while not over.is_set():
        if not os.path.exists('/data/here'):
            missing.append(1)

thread = threading.Thread(target=look)
thread.start()
for count in range(10):
    (data / str(count)).write_text('x')
    volume.commit()
    volume.reload()
over.set()
thread.join()
result = missing
"""


def test_commit_outside_a_container_is_refused(quick_table):
    """A program that mounts nothing has nothing to commit, and hears so."""
    with pytest.raises(RuntimeError, match="by a container that mounts it"):
        quick_table.volume.commit()
    with pytest.raises(RuntimeError, match="by a container that mounts it"):
        quick_table.volume.reload()


def test_a_deleted_volume(quick_table, client):
    """A container may go on with a volume that was deleted; it can commit nothing any more."""
    one = quick_table("one")
    one("(data / 'a').write_text('1'); volume.commit()")
    modal.Volume.objects.delete(quick_table.volume.name, client=client)
    assert one(READ) == [("a", "1")]
    with pytest.raises(modal.exception.NotFoundError, match="There is no volume"):
        one("(data / 'b').write_text('2'); volume.commit()")


def test_many_small_commits(quick_table):
    """However many commits made it, a volume is whole."""
    one = quick_table("one")
    code = "for n in range(40):\n  (data / str(n)).write_text(str(n))\n  volume.commit()"
    one(code)
    one("for n in range(0, 40, 2): (data / str(n)).unlink()\nvolume.commit()")
    expected = {str(n): str(n) for n in range(1, 40, 2)}
    assert quick_table.committed == expected
    assert dict(quick_table("other")(READ)) == expected
