"""A real embedding model on vLLM."""

import os
from typing import ClassVar

import modal

from modalkit import VLLM, GPUProfile, ModelService, serve

PYTHON = os.environ["TEST_VLLM_PYTHON"]
app = modal.App("vllm-embedder")


@serve(app)
class Embedder(ModelService):
    model = "../../../examples/models/all-MiniLM-L6-v2"
    engine = VLLM(
        interpreter=PYTHON,
        task="embed",
        dtype="float32",
        cuda_graphs=False,
        env={"VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    gpu = GPUProfile("T4")
    api = None
    env: ClassVar = {"TEST_VLLM_PYTHON": PYTHON}
