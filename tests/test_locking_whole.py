"""A lock holds all of a model's weights or none: what is missing, cut off or no weights at all is refused."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from modalkit.errors import LockError
from modalkit.lock import read_lock
from modalkit.lock.weight_files import WEIGHT_FILES
from modalkit.locking.folders import folder_files
from modalkit.prefetch.files import SourceFile
from modalkit.prefetch.selection import needed_files

LLAMA = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
LLAMA |= {"num_attention_heads": 4, "vocab_size": 100, "max_position_embeddings": 512}
LLAMA |= {"torch_dtype": "bfloat16", "tie_word_embeddings": False}
APP = """
import modal
from modalkit import VLLM, GPUProfile, ImageSpec, ModelService, serve
app = modal.App("x")

@serve(app)
class Chat(ModelService):
    model = "org/model"
    engine = VLLM()
    image = ImageSpec(python="3.12")
    gpu = GPUProfile("L4")
"""
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = {"metadata": {}, "weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}


def safetensors(parameters: int) -> bytes:
    """A whole safetensors file of one bf16 tensor."""
    tensor = {"dtype": "BF16", "shape": [parameters], "data_offsets": [0, 2 * parameters]}
    header = json.dumps({"weight": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(2 * parameters)


@pytest.fixture
def app(tmp_path) -> Path:
    """A folder with an app whose model is the hub's."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "chat.py").write_text(APP)
    return folder


def python(code: str, *arguments: str, cwd: Path, **environment: str) -> tuple[int, str]:
    """Run some Python in a process of its own, as the hub's client reads the environment once."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def lock(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run ``modalkit lock chat.py``."""
    code = "from modalkit.cli import main; main()"
    words = ("lock", "chat.py", "--packages", "declared", *arguments)
    return python(code, *words, cwd=folder, **environment)


def fetch(folder: Path, *patterns: str) -> None:
    """Bring some of the model's files into the hub's cache, as any use of it does."""
    code = "import sys, huggingface_hub as h; h.snapshot_download('org/model', allow_patterns=sys.argv[1:])"
    status, said = python(code, *patterns, cwd=folder)
    assert status == 0, said


def test_an_offline_lock_has_every_shard_or_is_not_made(app, hub):
    """With one of two shards in the cache the missing one is named; with both the hub's hashes are locked."""
    files = {"config.json": LLAMA, "model.safetensors.index.json": INDEX}
    hub.add("org/model", files | dict.fromkeys(SHARDS, b"weights"))
    fetch(app, "*.json", SHARDS[0])
    status, said = lock(app, HF_HUB_OFFLINE="1")
    assert status == 1
    assert f"lacks 1 of its weight files ({SHARDS[1]})" in said
    assert "HF_HUB_OFFLINE is set. Unset it" in said
    assert not (app / "modalkit.lock").exists()
    fetch(app, "*")
    assert lock(app, HF_HUB_OFFLINE="1")[0] == 0
    offline = read_lock(app / "modalkit.lock").service("chat.py", "Chat")
    assert lock(app, "--upgrade")[0] == 0
    asked = read_lock(app / "modalkit.lock").service("chat.py", "Chat")
    assert offline.model.files == asked.model.files
    assert [file.name for file in asked.model.files] == SHARDS


def test_an_offline_lock_without_any_weights_is_not_made(app, hub):
    """A cache that has the config alone knows of no weights, which is not the same as that there are none."""
    hub.add("org/model", {"config.json": LLAMA, "model.safetensors": safetensors(500)})
    fetch(app, "*.json")
    status, said = lock(app, HF_HUB_OFFLINE="1")
    assert status == 1
    assert "the cache of this machine has no weight files" in said


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
    status, said = lock(app)
    assert status == 1
    assert message in said


def test_safetensors_come_before_other_formats(app, hub):
    """One safetensors file is locked in place of the shards of an older format, as engines load it."""
    files = {"config.json": LLAMA, "model.safetensors": safetensors(500)}
    older = {"pytorch_model.bin.index.json": {"weight_map": {"a": "pytorch_model-1.bin"}}}
    hub.add("org/model", files | older | {"pytorch_model-1.bin": b"old"})
    assert lock(app)[0] == 0
    found = read_lock(app / "modalkit.lock").service("chat.py", "Chat").model
    assert [file.name for file in found.files] == ["model.safetensors"]


@pytest.mark.parametrize("beside", sorted(WEIGHT_FILES))
def test_what_is_locked_is_what_is_fetched(app, hub, beside):
    """Where a repository holds its weights twice, lock and prefetch choose the same file."""
    there = {beside: safetensors(500), "consolidated.safetensors": safetensors(400)}
    hub.add("org/model", {"config.json": LLAMA, **there})
    assert lock(app)[0] == 0
    found = read_lock(app / "modalkit.lock").service("chat.py", "Chat").model
    fetched = needed_files([SourceFile(name, 1) for name in there], there.__getitem__)
    assert [file.name for file in found.files] == [file.name for file in fetched]


def _folder(path: Path, **files: bytes) -> Path:
    for name, content in {"config.json": json.dumps(LLAMA).encode(), **files}.items():
        (path / name).write_bytes(content)
    return path


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 4\n"
WHOLE = safetensors(500)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"model.safetensors.index.json": json.dumps(INDEX).encode(), SHARDS[0]: WHOLE},
            f"names {SHARDS[1]}, which is not there",
        ),
        ({"model.safetensors.index.json": b"{"}, "does not read as an index"),
        (
            {"model.safetensors": WHOLE[:-1]},
            f"is cut off: {len(WHOLE) - 1:,} bytes of {len(WHOLE):,}",
        ),
        ({"model.safetensors": WHOLE[:20]}, "header that cannot be read"),
        ({"model.safetensors": POINTER}, "is a Git LFS pointer, not the weights"),
        ({"pytorch_model.bin": POINTER}, "pytorch_model.bin is a Git LFS pointer"),
        (
            {"model.safetensors.index.json": b'{"weight_map": ["model-1.safetensors"]}'},
            "its weight_map is list, not an object",
        ),
    ],
    ids=[
        *("shard missing", "index broken", "file cut off", "header cut off", "pointer"),
        *("pointer of the older format", "index of another form"),
    ],
)
def test_a_folder_that_is_not_whole_is_not_locked(tmp_path, files, message):
    """A download that stopped, or that brought pointers, is refused with the file's name."""
    with pytest.raises(LockError, match="is not whole") as refused:
        folder_files(_folder(tmp_path, **files))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "files",
    [
        {
            "model.safetensors.index.json": json.dumps(INDEX).encode(),
            **dict.fromkeys(SHARDS, WHOLE),
        },
        {"model.safetensors": WHOLE, "pytorch_model.bin.index.json": json.dumps(INDEX).encode()},
        {"model.safetensors": b"of another kind"},
        {"weights.gguf": b"GGUF"},
        {"pytorch_model.bin": b"PK", "training_args.bin": POINTER},
        {"model.safetensors": WHOLE, "pytorch_model.bin": POINTER},
    ],
    ids=[
        *("shards", "an older index beside it", "not safetensors", "another format"),
        *("a pointer that is no weights", "a pointer to the same in an older format"),
    ],
)
def test_a_folder_that_is_whole_is_locked(tmp_path, files):
    """Every file of it is hashed, whatever else lies there."""
    found = folder_files(_folder(tmp_path, **files))
    assert {file.name for file in found} == {"config.json", *files}
