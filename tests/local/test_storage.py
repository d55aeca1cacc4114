"""Volumes through the real client and CLI; names that nobody made."""

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


def test_unknown_names_are_refused(client):
    """Looking up what was never created is an error that says what to write."""
    for kind in (modal.Dict, modal.Queue, modal.Volume):
        with pytest.raises(modal.exception.NotFoundError, match="create_if_missing=True"):
            kind.from_name("never-made", client=client).hydrate()
