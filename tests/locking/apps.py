"""Apps to lock, and ``modalkit lock`` as a user runs it: in their folder, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["FOLDER_APP", "HUB_APP", "QWEN", "lock", "model_folder", "python"]

QWEN = {
    "model_type": "qwen3",
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}
HUB_APP = """
import modal
from modalkit import VLLM, GPUProfile, ImageSpec, ModelService, serve
app = modal.App("x")

@serve(app)
class Chat(ModelService):
    model = "org/model"
    engine = VLLM()
    image = ImageSpec(python="3.12")
    gpu = GPUProfile.fit(context=4096)
"""
FOLDER_APP = """
import modal
from modalkit import GPUProfile, ImageSpec, ModelService, Transformers, serve
app = modal.App("x")

@serve(app)
class Local(ModelService):
    model = "./model"
    engine = Transformers()
    gpu = GPUProfile.fit(context=512)
"""


def python(
    code: str, *arguments: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run some Python in a process of its own, since the hub's client reads its variables once."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def lock(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``modalkit lock`` in a folder; packages are not resolved unless a test says so."""
    resolved = {"--packages", "--check"} & {*arguments}
    declared = () if resolved else ("--packages", "declared")
    code = "from modalkit.cli import main; main()"
    return python(code, "lock", *arguments, *declared, cwd=folder, **environment)


def model_folder(folder: Path, weights: bytes = b"w" * 1000) -> None:
    """Make a model folder beside an app."""
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "config.json").write_text(json.dumps(QWEN))
    (folder / "model" / "model.safetensors").write_bytes(weights)
