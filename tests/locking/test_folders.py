"""A model folder is locked file by file, and only where it is whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from modalkit.errors import LockError
from modalkit.locking.folders import folder_files

from .weights import INDEX, LLAMA, SHARDS, safetensors

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 4\n"
WHOLE = safetensors(500)


def test_hashing_counts_every_byte_once(tmp_path):
    """Nested files are hashed, hidden ones are not, and progress ends at the total."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.bin").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b.bin").write_bytes(b"y")
    (tmp_path / ".hidden").write_bytes(b"z")
    seen: list[tuple[int, int]] = []
    files = folder_files(tmp_path, lambda done, total: seen.append((done, total)))
    assert [(file.name, file.size) for file in files] == [("b.bin", 1), ("deep/a.bin", 3_000_000)]
    assert files[0].sha256 == hashlib.sha256(b"y").hexdigest()
    assert max(seen) == (3_000_001, 3_000_001)


def _folder(path: Path, **files: bytes) -> Path:
    for name, content in {"config.json": json.dumps(LLAMA).encode(), **files}.items():
        (path / name).write_bytes(content)
    return path


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
