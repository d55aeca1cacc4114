"""Reading weights ahead: the right files, into the page cache, and no harm where that cannot be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modalkit.runtime.transformers.reading import reading_ahead, weight_files

SIZE = 9 << 20  # two pieces and a part of one


def is_cached(file: Path) -> bool:
    """Whether every page of a file can be had without the disk."""
    number = os.open(file, os.O_RDONLY)
    try:
        return all(
            os.preadv(number, [bytearray(4096)], at, os.RWF_NOWAIT) == 4096
            for at in range(0, file.stat().st_size, 4096)
        )
    except BlockingIOError:
        return False
    finally:
        os.close(number)


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    """A file that the page cache has forgotten."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(os.urandom(SIZE))
    number = os.open(file, os.O_RDONLY)
    os.fsync(number)
    os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(number)
    try:
        if is_cached(file):
            pytest.skip("This file system keeps files in memory whatever it is told.")
    except OSError:
        pytest.skip("This file system does not tell what is in memory.")
    return file


def test_files_are_in_memory_when_the_block_ends(cold):
    """Whatever the block itself has touched, everything is there after it."""
    with reading_ahead([cold]):
        pass
    assert is_cached(cold)


def test_an_error_ends_the_reading_and_is_the_one_that_is_seen(cold):
    """A model that cannot be put together does not wait for the disk."""
    with pytest.raises(ZeroDivisionError), reading_ahead([cold, cold]):
        _ = 1 / 0


def test_there_may_be_nothing_to_read():
    """A model of another format is loaded as ever."""
    with reading_ahead([]):
        pass


def test_only_what_will_be_mapped_is_read(tmp_path):
    """Shards by the index, once each; else the one file; no copies in other formats."""
    for name in ("a.safetensors", "b.safetensors", "consolidated.safetensors", "model.safetensors"):
        (tmp_path / name).touch()
    assert [file.name for file in weight_files(tmp_path)] == ["model.safetensors"]
    shards = {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors", "w": "gone"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))
    assert [file.name for file in weight_files(tmp_path)] == ["b.safetensors", "a.safetensors"]
