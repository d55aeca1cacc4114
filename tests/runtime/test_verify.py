"""Weights held to the lock before anything reads them: as a function, and in a real container."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modalkit import VLLM, GPUProfile, ModelService
from modalkit.errors import WeightsError
from modalkit.lock import LockedFile, LockedModel, LockedService
from modalkit.plan import plan_service
from modalkit.runtime.verify import LockedWeights, hub_snapshot, weights_of

CONTENT = {"config.json": b"{}", "model.safetensors": b"weights"}


def locked(commit: str | None = None) -> LockedModel:
    """What is locked of `CONTENT`."""
    return LockedModel(
        id="org/model",
        commit=commit,
        files=tuple(
            LockedFile(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in CONTENT.items()
        ),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("how", ["size", "sha256"])
def test_what_is_locked_passes(folder, how):
    """Files that are as locked are none that is awaited."""
    assert LockedWeights(locked(), folder, how, complete=True).verify() == ()


def test_another_size_is_refused(folder):
    """A file that grew is named with both sizes and the command to run."""
    (folder / "model.safetensors").write_bytes(b"weights and more")
    weights = LockedWeights(locked(), folder, "size", complete=True)
    with pytest.raises(
        WeightsError, match=r"model.safetensors .* has 16 bytes, locked are 7\. .*modalkit lock"
    ):
        weights.verify()


def test_other_contents_of_the_same_size_need_sha256(folder):
    """By size a changed byte passes; by SHA-256 it is refused."""
    (folder / "model.safetensors").write_bytes(b"Weights")
    assert LockedWeights(locked(), folder, "size", complete=True).verify() == ()
    with pytest.raises(WeightsError, match=r"model.safetensors .* has SHA-256"):
        LockedWeights(locked(), folder, "sha256", complete=True).verify()


def test_a_file_that_is_missing(folder):
    """A model folder must be whole; what a hub's cache misses is awaited, then verified."""
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model.safetensors .* is not there"):
        LockedWeights(locked(), folder, "size", complete=True).verify()
    weights = LockedWeights(locked("c" * 40), folder, "size", complete=False)
    awaited = weights.verify()
    assert [file.name for file in awaited] == ["model.safetensors"]
    (folder / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(WeightsError, match="Remove it from the cache"):
        weights.verify(awaited)


def test_a_hub_model_is_looked_for_where_the_hub_caches(monkeypatch):
    """The plan's weights lie in the snapshot of the locked commit, wherever the cache is."""
    service = type(
        "Chat", (ModelService,), {"model": "org/model", "engine": VLLM(), "gpu": GPUProfile("H100")}
    )
    monkeypatch.setenv("HF_HUB_CACHE", "/cache/hub")
    plan = plan_service(service, LockedService(model=locked("c" * 40)))
    weights = weights_of(plan)
    assert plan.revision == "c" * 40
    assert weights.folder == hub_snapshot("org/model", "c" * 40)
    assert str(weights.folder) == f"/cache/hub/models--org--model/snapshots/{'c' * 40}"
    assert weights_of(plan_service(service)) is None


@pytest.mark.parametrize(
    ("commit", "said"),
    [(None, "holds now: modalkit lock chat.py."), ("c" * 40, "modalkit lock chat.py --upgrade.")],
)
def test_another_file_names_the_command_that_locks_it(folder, monkeypatch, commit, said):
    """A container knows its service's file, and the message has it in the command."""
    declared = {"model": "org/model" if commit else str(folder), "gpu": GPUProfile("H100")}
    service = type("Chat", (ModelService,), {**declared, "engine": VLLM()})
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
    snapshot = hub_snapshot("org/model", "c" * 40)
    snapshot.mkdir(parents=True)
    for place in (folder, snapshot):
        (place / "model.safetensors").write_bytes(b"other")
    plan = plan_service(service, LockedService(model=locked(commit)))
    with pytest.raises(WeightsError) as refused:
        weights_of(plan, None, "modalkit lock chat.py").verify()
    assert said in str(refused.value)


APP = """
import modal
from modalkit import ModelService, serve
app = modal.App("verified")

@serve(app)
class Reader(ModelService):
    model = "./model"
    verify = "sha256"
    api = None

    @modal.method()
    def read(self) -> str:
        return open("/models/model/model.safetensors").read()

@app.local_entrypoint()
def main() -> None:
    print("read:", Reader().read.remote())
"""


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of modalkit's in a folder."""
    program = str(Path(sys.executable).parent / "modalkit")
    return subprocess.run(
        [program, *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
def test_a_container_refuses_weights_that_are_not_locked(tmp_path):
    """In a real container the lock has arrived, and a changed file stops it before it answers."""
    (tmp_path / "verified.py").write_text(APP)
    (tmp_path / "model").mkdir()
    for name, content in CONTENT.items():
        (tmp_path / "model" / name).write_bytes(content)
    done = run(tmp_path, "lock", "verified.py", "--packages", "declared")
    assert done.returncode == 0, done.stderr
    modal = ("local", "--state", str(tmp_path / "state"), "modal", "run", "verified.py")
    done = run(tmp_path, *modal)
    assert "read: weights" in done.stdout, done.stdout + done.stderr
    (tmp_path / "model" / "model.safetensors").write_bytes(b"Weights")
    done = run(tmp_path, *modal)
    assert done.returncode != 0
    assert "WeightsError: model.safetensors of './model'" in done.stdout + done.stderr
    assert "read:" not in done.stdout
