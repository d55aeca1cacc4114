"""The files of a volume from outside: the API and the CLI, both versions of volumes."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
from pathlib import Path

import modal
import pytest
from grpclib.client import Channel
from modal_proto import api_grpc, api_pb2

SERIAL = itertools.count()


@pytest.fixture(params=[1, 2])
def volume(request, client):
    return modal.Volume.from_name(
        f"files-{next(SERIAL)}", create_if_missing=True, version=request.param, client=client
    ).hydrate(client)


def put(volume: modal.Volume, force: bool = False, **files: str) -> None:
    """Upload texts; a double underscore in a name stands for a slash."""
    with volume.batch_upload(force=force) as batch:
        for name, text in files.items():
            batch.put_file(io.BytesIO(text.encode()), "/" + name.replace("__", "/"))


def paths(volume: modal.Volume) -> list[str]:
    return sorted(entry.path for entry in volume.listdir("/", recursive=True))


def read(volume: modal.Volume, path: str) -> str:
    return b"".join(volume.read_file(path)).decode()


def test_large_files_come_back_byte_by_byte(volume):
    """A file of many blocks, zeros at block ends included, reads back as it was uploaded."""
    content = os.urandom(9_000_000) + bytes(9_000_000) + b"end" + bytes(1000)
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(content), "/large.bin", mode=0o755)
    assert b"".join(volume.read_file("large.bin")) == content
    target = io.BytesIO()
    assert volume.read_file_into_fileobj("/large.bin", target) == len(content)
    assert target.getvalue() == content


def test_a_folder_is_uploaded_with_what_is_below(volume, tmp_path: Path):
    """put_directory takes every file below a folder, and listdir and iterdir show them."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a").write_text("a")
    (tmp_path / "b").write_text("bb")
    with volume.batch_upload() as batch:
        batch.put_directory(tmp_path, "/up")
    assert paths(volume) == ["up", "up/b", "up/deep", "up/deep/er", "up/deep/er/a"]
    assert [(entry.path, entry.size) for entry in volume.listdir("up/b")] == [("up/b", 2)]
    assert {entry.path for entry in volume.iterdir("/up", recursive=False)} == {"up/b", "up/deep"}


def test_a_client_may_ask_for_some_entries_only(volume, plane):
    """`max_entries` bounds a listing, however many files there are."""
    put(volume, a="1", b="2", c="3", d__e="4")

    async def count(limit: int | None) -> int:
        port = int(plane.exports["MODAL_SERVER_URL"].rpartition(":")[2])
        request = api_pb2.VolumeListFilesRequest(
            volume_id=volume.object_id, path="/", recursive=True, max_entries=limit
        )
        async with Channel("127.0.0.1", port) as channel:
            metadata = {"x-modal-token-secret": plane.exports["MODAL_TOKEN_SECRET"]}
            listing = api_grpc.ModalClientStub(channel).VolumeListFiles
            return sum(len(one.entries) for one in await listing(request, metadata=metadata))

    assert [asyncio.run(count(limit)) for limit in (2, None)] == [2, 5]


def test_overwriting_needs_force(volume):
    """A batch with a file that exists changes nothing without force; with force it replaces it."""
    put(volume, a="old", folder__x="x")
    with pytest.raises(FileExistsError, match="already exists"):
        put(volume, b="new", a="newer")
    assert paths(volume) == ["a", "folder", "folder/x"]
    put(volume, force=True, a="newer")
    assert read(volume, "a") == "newer"
    with pytest.raises(FileExistsError, match="is a directory"):
        put(volume, force=True, folder="not a file")


def test_copying_follows_cp(volume):
    """copy_files copies to a name or into a folder, and several files only into a folder."""
    put(volume, a="a", b="b", folder__c="c")
    volume.copy_files(["a"], "a2")
    volume.copy_files(["a", "b"], "folder")
    assert (read(volume, "a2"), read(volume, "folder/b")) == ("a", "b")
    volume.copy_files(["a", "b"], "made/here")
    assert (read(volume, "made/here/a"), read(volume, "made/here/b")) == ("a", "b")
    with pytest.raises(modal.exception.InvalidError, match="is not a directory"):
        volume.copy_files(["a", "b"], "a2")
    with pytest.raises(modal.exception.NotFoundError, match="No such file"):
        volume.copy_files(["nowhere"], "x")


def test_folders_are_copied_when_asked(client):
    """Version 2 copies folders with what is in them; a folder not into itself."""
    volume = modal.Volume.from_name(
        f"files-{next(SERIAL)}", create_if_missing=True, version=2, client=client
    ).hydrate(client)
    put(volume, folder__c="c", folder__deep__d="d")
    with pytest.raises(modal.exception.InvalidError, match="pass recursive"):
        volume.copy_files(["folder"], "copy")
    volume.copy_files(["folder"], "copy", recursive=True)
    assert read(volume, "copy/deep/d") == "d"
    with pytest.raises(modal.exception.InvalidError, match="into itself"):
        volume.copy_files(["folder"], "folder/deep", recursive=True)


def test_removing(volume):
    """remove_file takes files, folders only with recursive, and refuses what is not there."""
    put(volume, a="a", folder__b="b", folder__c="c")
    volume.remove_file("a")
    with pytest.raises(modal.exception.InvalidError, match="pass recursive"):
        volume.remove_file("folder")
    volume.remove_file("folder", recursive=True)
    assert paths(volume) == []
    with pytest.raises(FileNotFoundError):
        volume.remove_file("a")
    put(volume, folder__new="n")
    assert paths(volume) == ["folder", "folder/new"]


def test_a_download_is_not_disturbed_by_commits(volume):
    """A file that is replaced and removed while it is read is read to its end."""
    content = os.urandom(20_000_000)
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(content), "/f")
    chunks = volume.read_file("f")
    got = [next(chunks)]
    for count in range(4):
        put(volume, force=True, f=str(count))
    volume.remove_file("f")
    assert b"".join([*got, *chunks]) == content


def test_paths_out_of_the_volume_are_refused(volume):
    """`..` does not lead out of a volume, whatever is asked."""
    for attempt in (
        lambda: volume.listdir("../.."),
        lambda: volume.remove_file("../x", recursive=True),
        lambda: volume.copy_files(["../../records.db"], "x"),
        lambda: put(volume, **{"..__x": "x"}),
    ):
        with pytest.raises(modal.exception.InvalidError, match="outside the volume"):
            attempt()


def test_versions_must_match(volume, client):
    """Asking for another version than a volume has is an error."""
    other = 3 - volume._get_metadata().version
    again = modal.Volume.from_name(volume.name, version=other, client=client)
    with pytest.raises(modal.exception.InvalidError, match="exists but has version"):
        again.hydrate()


def test_ephemeral_volumes_of_both_versions(client):
    """A volume without a name works while it is open."""
    for version in (1, 2):
        with modal.Volume.ephemeral(client=client, version=version) as volume:
            put(volume, x="x")
            assert paths(volume) == ["x"]


def test_names(client):
    """Volumes are created once, listed newest first, renamed to free names only, and deleted."""
    first, second = (f"named-{next(SERIAL)}" for _ in range(2))
    modal.Volume.objects.create(first, client=client)
    modal.Volume.objects.create(second, version=2, client=client)
    with pytest.raises(modal.exception.AlreadyExistsError):
        modal.Volume.objects.create(first, client=client)
    names = [volume.name for volume in modal.Volume.objects.list(client=client)]
    assert names.index(second) < names.index(first)
    with pytest.raises(modal.exception.AlreadyExistsError, match="exists already"):
        modal.Volume.rename(first, second, client=client)
    modal.Volume.rename(first, f"{first}-new", client=client)
    modal.Volume.from_name(f"{first}-new", client=client).hydrate()
    modal.Volume.objects.delete(second, client=client)
    with pytest.raises(modal.exception.NotFoundError):
        modal.Volume.from_name(second, client=client).hydrate()


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_command_line(plane, tmp_path: Path, version):
    """Every `modal volume` command, on a volume that lives."""
    name = f"cli-{version}"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("first")

    def volume(*words: str, code: int = 0) -> str:
        done = plane.modal("volume", *words)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    volume("create", name, "--version", version)
    assert name in volume("list")
    volume("put", name, str(tmp_path / "folder"), "/")
    assert "already exists" in volume("put", name, str(tmp_path / "folder"), "/", code=2)
    volume("put", "--force", name, str(tmp_path / "folder" / "a.txt"), "/deep/er/b.txt")
    volume("cp", name, "/deep/er/b.txt", "/c.txt")
    assert volume("ls", name).split() == ["c.txt", "deep", "folder"]
    (tmp_path / "all").mkdir()
    volume("get", name, "/", str(tmp_path / "all"))
    assert (tmp_path / "all" / "deep" / "er" / "b.txt").read_text() == "first"
    assert "first" in volume("get", name, "c.txt", "-")
    volume("rm", name, "/folder", "--recursive")
    assert volume("ls", name).split() == ["c.txt", "deep"]
    volume("rename", "--yes", name, f"{name}-new")
    volume("delete", "--yes", f"{name}-new")
    assert name not in volume("list")
