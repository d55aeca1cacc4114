"""A cross-encoder on vLLM; the variable says where it was made."""

import os
from typing import ClassVar

import modal

from modalkit import VLLM, GPUProfile, ImageSpec, ModelService, serve

PYTHON, MODEL = os.environ["TEST_VLLM_PYTHON"], os.environ["TEST_CROSS_ENCODER"]
app = modal.App("vllm-reranker")


@serve(app)
class Reranker(ModelService):
    model = "/models/cross-encoder"
    engine = VLLM(
        interpreter=PYTHON,
        task="rerank",
        dtype="float32",
        cuda_graphs=False,
        env={"VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    gpu = GPUProfile("T4")
    image = ImageSpec.engine().local_dir(MODEL, "/models/cross-encoder")
    api = None
    env: ClassVar = {"TEST_VLLM_PYTHON": PYTHON, "TEST_CROSS_ENCODER": MODEL}
