"""Weights from a folder: another Volume, a bucket's mount, a folder beside the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from modalkit.declare.weights_sources import Bucket, LocalFolder
from modalkit.errors import HubError, WeightsError
from modalkit.prefetch.fill import fill
from modalkit.prefetch.sources import FolderSource
from modalkit.prefetch.wanted import Wanted

FILES = {"config.json": b"{}", "tokenizer.json": b'{"a": 1}', "model.safetensors": b"w" * 3_000_000}
WANTED = Wanted(model="acme/model", source=LocalFolder(path="./folder"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "folder"
    (source / "original").mkdir(parents=True)
    for name, content in {**FILES, "original/x.safetensors": b"x", "logo.png": b"png"}.items():
        (source / name).write_bytes(content)
    return source


def filled(root: Path, folder: Path, wanted: Wanted = WANTED, **options):
    return list(fill(root, wanted, lambda: FolderSource(folder, "./folder"), **options))


def snapshot(root: Path) -> Path:
    commit = (root / "huggingface/hub/models--acme--model/refs/main").read_text()
    return root / "huggingface/hub/models--acme--model/snapshots" / commit


def test_a_folder_is_copied(tmp_path, folder):
    """The files an engine reads are in the cache, under a commit made of their contents."""
    last = filled(tmp_path / "cache", folder)[-1]
    there = snapshot(tmp_path / "cache")
    assert {path.name: path.read_bytes() for path in there.iterdir()} == FILES
    assert (last.stage, last.done_files) == ("done", 3)
    assert len(there.name) == 40


def test_a_folder_that_changed_is_taken_anew_when_asked(tmp_path, folder):
    """Without being asked nothing is looked at; with it the new contents get a commit of their own."""
    root = tmp_path / "cache"
    filled(root, folder)
    before = snapshot(root)
    (folder / "model.safetensors").write_bytes(b"n" * 3_000_000)
    assert filled(root, folder)[-1].fetched_bytes == 0
    filled(root, folder, again=True)
    assert snapshot(root) != before
    assert (snapshot(root) / "model.safetensors").read_bytes() == b"n" * 3_000_000


def test_another_source_is_not_taken_for_this_one(tmp_path, folder):
    """A manifest of another source does not count: the declaration has changed."""
    root = tmp_path / "cache"
    filled(root, folder)
    other = WANTED.model_copy(update={"source": Bucket("s3://other")})
    assert filled(root, folder, other)[-1].fetched_bytes > 0


def test_a_folder_without_files(tmp_path):
    """An empty or missing folder says what to check."""
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(HubError, match=r"\./folder holds no files\. Check its name"):
            filled(tmp_path / "cache", folder)


def test_a_file_that_shrinks_while_it_is_copied(tmp_path, folder):
    """A source that changes on the way is told; the next run copies what is there then."""
    source = FolderSource(folder, "./folder")
    files = source.files()
    (folder / "model.safetensors").write_bytes(b"short")
    source.files = lambda: files
    with pytest.raises(WeightsError, match=r"model\.safetensors from \./folder ended early"):
        list(fill(tmp_path / "cache", WANTED, lambda: source))
    filled(tmp_path / "cache", folder)
    assert (snapshot(tmp_path / "cache") / "model.safetensors").read_bytes() == b"short"
