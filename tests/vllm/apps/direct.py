"""The same service behind Modal's low-latency servers: requests reach vLLM's own port."""

import os
from typing import ClassVar

import modal

from modalkit import VLLM, BearerKeys, Endpoint, GPUProfile, ModelService, Scaling, serve

app = modal.App("vllm-direct")


@serve(app)
class Direct(ModelService):
    model = "../../../examples/models/small-chat"
    engine = VLLM(
        interpreter=os.environ["TEST_VLLM_PYTHON"],
        context_length=512,
        dtype="float32",
        max_running_requests=32,
        cuda_graphs=False,
        env={"VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    gpu = GPUProfile("T4")
    api = Endpoint(kind="server", auth=BearerKeys(), port=8731, metrics="key")
    scaling = Scaling(max_containers=1, scaledown_window=600)
    env: ClassVar = {"TEST_VLLM_PYTHON": os.environ["TEST_VLLM_PYTHON"]}
