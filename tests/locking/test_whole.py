"""A lock holds all weights of a hub's model or none: what the cache or the repository lacks is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from modalkit.lock import read_lock
from modalkit.lock.weight_files import WEIGHT_FILES
from modalkit.prefetch.files import SourceFile
from modalkit.prefetch.selection import needed_files

from .apps import HUB_APP, lock, python
from .weights import INDEX, LLAMA, SHARDS, safetensors

APP = HUB_APP.replace("GPUProfile.fit(context=4096)", 'GPUProfile("L4")')


@pytest.fixture
def app(tmp_path) -> Path:
    """A folder with an app whose model is the hub's."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "chat.py").write_text(APP)
    return folder


def fetch(folder: Path, *patterns: str) -> None:
    """Bring some of the model's files into the hub's cache, as any use of it does."""
    code = "import sys, huggingface_hub as h; h.snapshot_download('org/model', allow_patterns=sys.argv[1:])"
    done = python(code, *patterns, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_an_offline_lock_has_every_shard_or_is_not_made(app, hub):
    """With one of two shards in the cache the missing one is named; with both the hub's hashes are locked."""
    files = {"config.json": LLAMA, "model.safetensors.index.json": INDEX}
    hub.add("org/model", files | dict.fromkeys(SHARDS, b"weights"))
    fetch(app, "*.json", SHARDS[0])
    done = lock(app, "chat.py", HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert f"lacks 1 of its weight files ({SHARDS[1]})" in done.stderr
    assert "HF_HUB_OFFLINE is set. Unset it" in done.stderr
    assert not (app / "modalkit.lock").exists()
    fetch(app, "*")
    assert lock(app, "chat.py", HF_HUB_OFFLINE="1").returncode == 0
    offline = read_lock(app / "modalkit.lock").service("chat.py", "Chat")
    assert lock(app, "chat.py", "--upgrade").returncode == 0
    asked = read_lock(app / "modalkit.lock").service("chat.py", "Chat")
    assert offline.model.files == asked.model.files
    assert [file.name for file in asked.model.files] == SHARDS


def test_an_offline_lock_without_any_weights_is_not_made(app, hub):
    """A cache that has the config alone knows of no weights, which is not the same as that there are none."""
    hub.add("org/model", {"config.json": LLAMA, "model.safetensors": safetensors(500)})
    fetch(app, "*.json")
    done = lock(app, "chat.py", HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "the cache of this machine has no weight files" in done.stderr


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"model.safetensors.index.json": INDEX, SHARDS[0]: b"one"},
            f"does not have ({SHARDS[1]})",
        ),
        (
            {"model.safetensors.index.json": {"metadata": {}}},
            "names no files: it has no 'weight_map'",
        ),
    ],
)
def test_a_repository_that_is_not_whole_is_not_locked(app, hub, files, message):
    """An index that names what the repository lacks, or nothing, is no model that an engine loads."""
    hub.add("org/model", {"config.json": LLAMA, **files})
    done = lock(app, "chat.py")
    assert done.returncode == 1
    assert message in done.stderr


def test_safetensors_come_before_other_formats(app, hub):
    """One safetensors file is locked in place of the shards of an older format, as engines load it."""
    files = {"config.json": LLAMA, "model.safetensors": safetensors(500)}
    older = {"pytorch_model.bin.index.json": {"weight_map": {"a": "pytorch_model-1.bin"}}}
    hub.add("org/model", files | older | {"pytorch_model-1.bin": b"old"})
    assert lock(app, "chat.py").returncode == 0
    found = read_lock(app / "modalkit.lock").service("chat.py", "Chat").model
    assert [file.name for file in found.files] == ["model.safetensors"]


@pytest.mark.parametrize("beside", sorted(WEIGHT_FILES))
def test_what_is_locked_is_what_is_fetched(app, hub, beside):
    """Where a repository holds its weights twice, lock and prefetch choose the same file."""
    there = {beside: safetensors(500), "consolidated.safetensors": safetensors(400)}
    hub.add("org/model", {"config.json": LLAMA, **there})
    assert lock(app, "chat.py").returncode == 0
    found = read_lock(app / "modalkit.lock").service("chat.py", "Chat").model
    fetched = needed_files([SourceFile(name, 1) for name in there], there.__getitem__)
    assert [file.name for file in found.files] == [file.name for file in fetched]
