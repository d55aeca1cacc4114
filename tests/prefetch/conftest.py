"""A model on the stand-in hub, and an empty cache to fill with it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from modalkit.lock import LockedFile
from modalkit.prefetch.fill import fill
from modalkit.prefetch.hub_source import HubSource
from modalkit.prefetch.manifest import Manifest, read_manifest
from modalkit.prefetch.parts import SEGMENT
from modalkit.prefetch.progress import Progress
from modalkit.prefetch.wanted import Wanted

MODEL = "org/model"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@dataclass
class Cache:
    """A cache and what fills it."""

    root: Path

    def fill(self, wanted: Wanted | None = None, **options) -> list[Progress]:
        """Fill it from the hub; return everything that was told."""
        wanted = wanted or Wanted(model=MODEL)
        return list(
            fill(self.root, wanted, lambda: HubSource(wanted.model, wanted.asked), **options)
        )

    def manifest(self, wanted: Wanted | None = None) -> Manifest | None:
        return read_manifest(self.root, wanted or Wanted(model=MODEL))

    @property
    def snapshot(self) -> Path:
        (folder,) = (self.root / "huggingface/hub/models--org--model/snapshots").iterdir()
        return folder

    def contents(self) -> dict[str, bytes]:
        """Every file of the model as an engine sees it."""
        return {
            str(path.relative_to(self.snapshot)): path.read_bytes()
            for path in self.snapshot.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def model(hub) -> dict[str, bytes]:
    """A model of two shards on the hub; returns what must arrive."""
    return on_the_hub(hub, (5 << 20) + 17)


@pytest.fixture
def large_model(hub) -> dict[str, bytes]:
    """The same with a shard of several segments."""
    return on_the_hub(hub, SEGMENT + (5 << 20) + 17)


def on_the_hub(hub, size: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {
        SHARDS[0]: os.urandom(size),
        SHARDS[1]: os.urandom(3 << 20),
        "tokenizer.json": b'{"version": "1.0"}',
    }
    index = {"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}
    noise = {"original/model.safetensors": b"x" * 1000, "README.md": b"#", "a.png": b"png"}
    added = hub.add(
        MODEL, {"config.json": {}, "model.safetensors.index.json": index, **files, **noise}
    )
    wanted = {*files, "config.json", "model.safetensors.index.json"}
    return {name: content for name, content in added.files.items() if name in wanted}


@pytest.fixture
def locked() -> Callable[[dict[str, bytes]], Wanted]:
    """Return what a service asks for whose lock holds some files."""

    def wanted(files: dict[str, bytes]) -> Wanted:
        entries = [
            LockedFile(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in files.items()
            if name in SHARDS
        ]
        return Wanted(model=MODEL, asked="c" * 40, locked=tuple(entries))

    return wanted
