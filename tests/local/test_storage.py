"""Volumes, secrets, dicts and queues, through the real client and CLI."""

from __future__ import annotations

import io
import os
from pathlib import Path

import modal
import pytest


def test_volume_files_survive_between_commands(local, tmp_path: Path):
    """What `modal volume put` uploads, a later command and a later plane find."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("first")
    (tmp_path / "b.txt").write_text("second")
    for words in (
        ("create", "v"),
        ("put", "v", str(tmp_path / "folder"), "/"),
        ("put", "v", str(tmp_path / "b.txt"), "/deep/er/b.txt"),
        ("cp", "v", "/deep/er/b.txt", "/c.txt"),
        ("rm", "v", "/folder/a.txt"),
    ):
        done = local("modal", "volume", *words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert local("modal", "volume", "ls", "v").stdout.split() == ["c.txt", "deep", "folder"]
    assert "second" in local("modal", "volume", "get", "v", "/deep/er/b.txt", "-").stdout


@pytest.mark.parametrize("version", [1, 2])
def test_batch_upload_and_read_back(client, version):
    """Both versions of volumes take files from disk and memory, and give them back."""
    volume = modal.Volume.from_name(
        f"upload-{version}", create_if_missing=True, version=version, client=client
    )
    large = os.urandom(9 * 1024 * 1024) + b"\0" * 1000
    with volume.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(b"small"), "/small.txt")
        batch.put_file(io.BytesIO(large), "/folder/large.bin")
    assert b"".join(volume.read_file("small.txt")) == b"small"
    assert b"".join(volume.read_file("folder/large.bin")) == large
    with pytest.raises(FileExistsError), volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"again"), "/small.txt")
    volume.remove_file("folder", recursive=True)
    assert [entry.path for entry in volume.listdir("/")] == ["small.txt"]
    with pytest.raises(FileNotFoundError):
        b"".join(volume.read_file("folder/large.bin"))


def test_a_path_out_of_the_volume_is_refused(client):
    """`..` does not lead out of a volume."""
    volume = modal.Volume.from_name("contained", create_if_missing=True, client=client)
    with pytest.raises(modal.exception.InvalidError, match="outside the volume"):
        b"".join(volume.read_file("../../records.db"))


def test_an_ephemeral_volume(client):
    """A volume without a name works while it is open."""
    with modal.Volume.ephemeral(client=client) as volume:
        with volume.batch_upload() as batch:
            batch.put_file(io.BytesIO(b"x"), "/x")
        assert [entry.path for entry in volume.listdir("/")] == ["x"]


def test_secrets_are_created_listed_and_required(local, state_folder: Path):
    """`modal secret create` lasts; required keys are checked; the records are private."""
    assert local("modal", "secret", "create", "mine", "KEY=value").returncode == 0
    listed = local("modal", "secret", "list")
    assert "mine" in listed.stdout
    assert "value" not in listed.stdout
    code = "import modal; modal.Secret.from_name('mine', required_keys=['KEY', 'OTHER']).hydrate()"
    done = local("python", "-c", code)
    assert "has no OTHER" in done.stderr
    modes = {path.stat().st_mode & 0o077 for path in state_folder.glob("*/records.db*")}
    assert modes == {0}


def test_a_secret_that_is_nowhere_is_named_with_its_command(local):
    """The error for an unknown secret says how to create it."""
    code = "import modal; modal.Secret.from_name('nope', required_keys=['A', 'B']).hydrate()"
    done = local("python", "-c", code, A="only one of two")
    assert done.returncode == 1
    assert "modalkit local modal secret create nope A=... B=..." in done.stderr


def test_dict(client):
    """A dict holds, tells apart, and gives back."""
    words = modal.Dict.from_name("words", create_if_missing=True, client=client)
    words["one"] = 1
    words.update(two=2, three=3)
    assert (words["one"], words.get("nine", "none"), "two" in words, words.len()) == (
        1,
        "none",
        True,
        3,
    )
    assert words.put("one", 5, skip_if_exists=True) is False
    assert sorted(words.items()) == [("one", 1), ("three", 3), ("two", 2)]
    assert words.pop("one") == 1
    with pytest.raises(KeyError):
        words["one"]
    words.clear()
    assert list(words.keys()) == []


def test_queue(client):
    """A queue keeps order, has partitions, and waits."""
    line = modal.Queue.from_name("line", create_if_missing=True, client=client)
    line.put_many([1, 2, 3])
    line.put("aside", partition="other")
    assert (line.get(), line.get_many(5), line.len(), line.len(total=True)) == (1, [2, 3], 0, 1)
    assert list(line.iterate(partition="other", item_poll_timeout=0.0)) == ["aside"]
    assert line.get(block=False) is None
    line.clear(all=True)
    assert line.len(total=True) == 0


def test_unknown_names_are_refused(client):
    """Looking up what was never created is an error that says what to write."""
    for kind in (modal.Dict, modal.Queue, modal.Volume):
        with pytest.raises(modal.exception.NotFoundError, match="create_if_missing=True"):
            kind.from_name("never-made", client=client).hydrate()
