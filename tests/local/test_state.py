"""The state folder: what it survives, what it refuses, and its removal."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.errors import LocalModalError
from modalkit.local.apps.versions import Version
from modalkit.local.protocol import api
from modalkit.local.store import reset
from modalkit.local.store.database import Database
from modalkit.local.store.records import Records
from modalkit.local.store.state import State

# What `records.db` looked like before versions were counted, and what such a file held.
FIRST_LAYOUT = """
CREATE TABLE records (
    kind TEXT NOT NULL, environment TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, environment, name)
);
INSERT INTO records VALUES ('secret', 'main', 'old', 'st-1', 5.0, '{"KEY": "kept"}');
INSERT INTO records VALUES ('function', '', 'fu-1', 'fu-1', 3.0, x'0a0178');
INSERT INTO records VALUES ('app', 'main', 'shop', 'ap-1', 3.0, CAST('{"functions":
    {"f": "fu-1"}, "classes": {"C": "cs-1"}, "version": 4, "deployed_at": 3.5}' AS BLOB));
INSERT INTO records VALUES ('secret', 'dev', 'older', 'st-2', 4.0, '{"KEY": "kept"}');
"""
FILL_THE_DISK = """
import modal
words = modal.Dict.from_name("words", create_if_missing=True)
words["safe"] = "committed"
try:
    for number in range(1000):
        words[number] = b"x" * 50_000
except modal.exception.Error as error:
    print(error)
"""
READ_IT = "import modal; print(modal.Dict.from_name('words')['safe'])"

names = st.text(min_size=1, max_size=10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder that has held something."""
    state = State(tmp_path / "state")
    state.records.put("secret", "main", "mine", "st-1", b'{"KEY": "x"}')
    (state.volumes / "vo-1").mkdir()
    state.close()
    return tmp_path / "state"


@given(st.dictionaries(names, st.binary(max_size=50), max_size=5))
def test_records_give_back_what_was_written(tmp_path_factory, bodies):
    """A record is found by its name and its id, after reopening too."""
    path = tmp_path_factory.mktemp("records") / "records.db"
    records = Records(Database(path))
    for index, (name, body) in enumerate(bodies.items()):
        records.put("kind", "main", name, f"id-{index}", body)
    records.close()
    again = Records(Database(path))
    assert {record.name: record.body for record in again.list_all("kind", "main")} == bodies
    for index, (name, body) in enumerate(bodies.items()):
        found = again.by_name("kind", "main", name)
        assert found is not None
        assert found == again.by_id(f"id-{index}")
        assert found.body == body
    again.close()


def test_writing_a_record_again_keeps_when_it_was_made(folder: Path):
    """A second `put` of a name changes id and body, not the time; `add` changes nothing."""
    records = State(folder).records
    before = records.by_name("secret", "main", "mine")
    assert before is not None
    after = records.put("secret", "main", "mine", "st-9", b"new")
    assert (after.id, after.body, after.created_at) == ("st-9", b"new", before.created_at)
    assert records.add("secret", "main", "mine", "st-10", b"other") == after


def test_a_record_does_not_show_its_body(folder: Path):
    """What a record holds is in no text about it: it may be a secret."""
    assert "KEY" not in repr(State(folder).records.by_id("st-1"))


def test_the_first_layout_is_brought_up_to_date(tmp_path: Path):
    """A database from before versions were counted opens with everything that was in it."""
    path = tmp_path / "records.db"
    old = sqlite3.connect(path)
    old.executescript(FIRST_LAYOUT)
    old.close()
    for _ in range(2):  # the second time it is up to date
        records = Records(Database(path))
        found = records.by_name("secret", "main", "old")
        assert found is not None
        assert (found.id, found.created_at) == ("st-1", 5.0)
        version = records.by_name("app version", "ap-1", "v4")
        assert version is not None
        shop = Version.from_bytes(version.body)
        assert shop.functions() == {"f": ("fu-1", api.Function.FromString(b"\n\1x"))}
        assert (shop.classes, shop.deployed_at) == ({"C": "cs-1"}, 3.5)
        environments = {record.name for record in records.list_all("environment", "")}
        assert environments == {"main", "dev"}
        records.close()


def test_a_newer_layout_is_refused(folder: Path):
    """A database that a newer version wrote is left alone, with a message that says so."""
    database = sqlite3.connect(folder / "records.db")
    database.execute("PRAGMA user_version = 999")
    database.close()
    with pytest.raises(LocalModalError, match="written by a newer modalkit"):
        State(folder)
    with pytest.raises(LocalModalError, match="--state"):
        State(folder)


@pytest.mark.parametrize("damage", ["overwritten", "cut off", "emptied"])
def test_damaged_records_are_named_and_left_as_they_are(folder: Path, damage):
    """Records that were overwritten, cut off or emptied are an error that says what to do."""
    path = folder / "records.db"
    content = path.read_bytes()
    broken = {
        "overwritten": b"This is no database. " * 400,
        "cut off": content[: len(content) // 2],
        "emptied": b"",
    }[damage]
    path.write_bytes(broken)
    with pytest.raises(LocalModalError, match=r"records\.db.* move (that file|it) away"):
        State(folder)
    assert path.read_bytes() == broken
    path.write_bytes(content)
    assert State(folder).records.by_id("st-1") is not None


def test_a_damaged_folder_ends_the_command_clearly(local, state_folder: Path):
    """The command line says what is wrong with the records, without a traceback."""
    assert local("modal", "secret", "create", "mine", "KEY=value").returncode == 0
    newest = max(state_folder.glob("*/records.db"), key=lambda path: path.stat().st_mtime)
    newest.write_bytes(b"This is no database. " * 400)
    done = local("modal", "secret", "list")
    assert done.returncode != 0
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_state_folder_that_cannot_be_made(tmp_path: Path):
    """A state folder below a file is refused with the way out."""
    (tmp_path / "file").touch()
    with pytest.raises(LocalModalError, match="--state"):
        State(tmp_path / "file" / "state")


def in_own_disk(script: str, *, size: str = "1m") -> subprocess.CompletedProcess[str]:
    """Run a shell script in a mount namespace whose ``/mnt`` is a small disk of its own."""
    command = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    mount = f"mount -t tmpfs -o size={size} tmpfs /mnt"
    if not shutil.which("unshare") or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("this machine lets no test mount a disk of its own")
    return subprocess.run(
        [*command, "sh", "-ec", f"{mount}\n{script}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "RUN": sys.executable, "FILL": FILL_THE_DISK, "READ": READ_IT},
    )


LOCAL = "$RUN -c 'from modalkit.cli import main; main()' local --state /mnt/state"


def test_a_full_disk_loses_nothing_committed():
    """On a full disk a write fails with a clear error; what was written before stays."""
    done = in_own_disk(
        "head -c 200000 /dev/zero > /mnt/ballast\n"
        f'{LOCAL} python -c "$FILL"\n'
        "rm /mnt/ballast\n"
        f'{LOCAL} python -c "$READ"'
    )
    assert "is full: this change was not made" in done.stdout, done.stdout + done.stderr
    assert done.stdout.endswith("committed\n")
    assert "Traceback" not in done.stderr


def test_a_read_only_folder_is_named():
    """A state folder on a read-only disk is an error that names it and the way out."""
    done = in_own_disk(f"mount -o remount,ro /mnt\n{LOCAL} modal secret list")
    assert done.returncode != 0
    assert "'/mnt/state' cannot be used" in done.stderr
    assert "--state" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_state_folder_holds(folder: Path):
    """`describe` counts what is there, says who uses it, and makes nothing."""
    held = reset.describe(folder)
    assert held.counts == {"secret": 1}
    assert held.size_bytes > 0
    assert held.planes == ()
    state = State(folder)
    assert reset.describe(folder).planes == (os.getpid(),)
    state.close()
    nothing = reset.describe(folder / "nowhere")
    assert nothing.counts == {}
    assert not (folder / "nowhere").exists()


def test_damaged_records_can_still_be_described_and_erased(folder: Path):
    """Damage does not keep a state folder from being looked at and removed."""
    (folder / "records.db").write_bytes(b"This is no database. " * 400)
    assert reset.describe(folder).counts == {}
    reset.erase(folder)
    assert not folder.exists()


def test_erasing_leaves_what_is_not_ours(folder: Path):
    """`erase` removes a local Modal's own files and nothing else in the folder."""
    (folder / "thesis.txt").write_text("mine")
    reset.erase(folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_folder_in_use_is_not_erased(folder: Path):
    """A state folder that a local Modal uses now is refused, with the command that stops it."""
    state = State(folder)
    with pytest.raises(LocalModalError, match="modalkit local down"):
        reset.erase(folder)
    state.close()
    reset.erase(folder)


def test_nothing_is_left_after_erasing_a_used_folder(planes, tmp_path: Path):
    """Everything a plane makes in its folder is known to `erase`."""
    started = planes(tmp_path / "state")
    started.deploy("hello")
    assert started.modal("volume", "create", "v").returncode == 0
    started.process.terminate()
    started.process.wait()
    reset.erase(tmp_path / "state")
    assert not (tmp_path / "state").exists()
