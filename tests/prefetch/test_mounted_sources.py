"""Another Volume and a bucket as sources, and two commands at once, through the local Modal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PATIENCE_S = 300  # a deadline against hangs, never a measurement
BIN = Path(sys.executable).parent
FILES = {"config.json": "{}", "tokenizer.json": '{"a": 1}', "model.safetensors": "weights" * 1000}

APP = """
import modal
from modalkit import ModelService, WeightCache, serve
from modalkit.declare.secrets import Secret
from modalkit.declare.weights_sources import Bucket

app = modal.App("sources")

class Reading(ModelService):
    api = None

    @modal.method()
    def read(self) -> str:
        files = sorted(path for path in self.model_path.iterdir())
        return " ".join(f"{path.name}:{path.stat().st_size}" for path in files)

@serve(app)
class FromVolume(Reading):
    model = "acme/trained"
    weights = WeightCache("of-a-volume", source="volume://trained/runs/7")

@serve(app)
class FromBucket(Reading):
    model = "acme/stored"
    weights = WeightCache("of-a-bucket", source=Bucket("s3://models/qwen3", secret=Secret("aws")))

@app.local_entrypoint()
def main() -> None:
    print("volume:", FromVolume().read.remote())
    print("bucket:", FromBucket().read.remote())
"""


class Shop:
    """A folder with an app, and a local Modal for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(BIN / "modalkit"), "local", "-q", "--state", str(self.state), *words],
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "600", "PATH": f"{BIN}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, out + err
        return out


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "sources.py").write_text(APP)
    for name, content in FILES.items():
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / name).write_text(content)
    running = Shop(tmp_path)
    running("up", "--detach")
    yield running
    running("down")


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_volume_and_a_bucket_fill_their_caches(shop):
    """What lies in another Volume's folder, or below a bucket's prefix, is served from the cache."""
    shop("modal", "volume", "create", "trained")
    shop("modal", "volume", "put", "trained", "model", "/runs/7")
    shop("modal", "secret", "create", "aws", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")
    bucket = shop.state / "buckets" / "models" / "qwen3"
    bucket.mkdir(parents=True)
    for name, content in {**FILES, "README.md": "#"}.items():
        (bucket / name).write_text(content)

    told = events(shop("modalkit", "prefetch", "sources.py", "--json"))
    done = [(one["model"], one["done_files"]) for one in told if one["stage"] == "done"]
    assert done == [("acme/trained", 3), ("acme/stored", 3)]
    committed = [one["model"] for one in told if one["stage"] == "committing"]
    assert committed == ["acme/trained", "acme/stored"]  # once for each Volume
    trained, stored = ([one["model"] for one in told].index(of) for of in committed)
    last = max(place for place, one in enumerate(told) if one["model"] == "acme/trained")
    assert trained < last < stored  # the first is kept before the next is fetched

    for path in bucket.iterdir():
        path.unlink()  # what serves reads its cache alone
    said = shop("modal", "run", "sources.py")
    there = " ".join(f"{name}:{len(content)}" for name, content in sorted(FILES.items()))
    assert f"volume: {there}" in said
    assert f"bucket: {there}" in said


def test_two_commands_at_once_leave_one_whole_cache(shop):
    """Whoever is second finds everything there, or fetches the same; neither harms the other."""
    shop("modal", "volume", "create", "trained")
    shop("modal", "volume", "put", "trained", "model", "/runs/7")
    words = ("modalkit", "prefetch", "sources.py", "--service", "FromVolume", "--json")
    both = [shop.start(*words) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, out + err
        last = events(out)[-1]
        assert (last["model"], last["stage"], last["done_files"]) == ("acme/trained", "done", 3)
    again = events(shop(*words))
    assert [(one["stage"], one["fetched_bytes"]) for one in again] == [("done", 0)]
    assert "manifests" in shop("modal", "volume", "ls", "of-a-volume", "/modalkit")
