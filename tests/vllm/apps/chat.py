"""A service as a user writes it, on vLLM; the environment variable says which Python has it."""

import os
from typing import ClassVar

import modal

from modalkit import VLLM, BearerKeys, Endpoint, GPUProfile, ModelService, Scaling, serve

app = modal.App("vllm-chat")


@serve(app)
class Chat(ModelService):
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
    api = Endpoint(auth=BearerKeys())
    scaling = Scaling(max_containers=1, scaledown_window=600)
    env: ClassVar = {"TEST_VLLM_PYTHON": os.environ["TEST_VLLM_PYTHON"]}


@app.local_entrypoint()
def main(prompt: str = "Why is the sky blue?") -> None:
    print(Chat().generate.remote(prompt, temperature=0))
