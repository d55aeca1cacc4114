"""A model of the hub on vLLM: fetched once by its prefetch container, asleep and awake around a snapshot."""

import os
from typing import ClassVar

import modal

from modalkit import VLLM, ColdStart, GPUProfile, ModelService, WeightCache, serve

PYTHON, HUB = os.environ["TEST_VLLM_PYTHON"], os.environ["TEST_HUB"]
app = modal.App("vllm-prefetched")


class SleepsOnCPU(VLLM):
    """vLLM's routes sleep on a CPU too, but its CPU build refuses the flag, which only GPUs need."""

    sleep_flags: ClassVar = ()


@serve(app)
class Chat(ModelService):
    model = "acme/small-chat"
    engine = SleepsOnCPU(
        interpreter=PYTHON,
        context_length=512,
        dtype="float32",
        cuda_graphs=False,
        env={"VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    gpu = GPUProfile("T4")
    weights = WeightCache("small-chat")
    cold_start = ColdStart(snapshot="gpu", warm_up=1)
    api = None
    env: ClassVar = {"TEST_VLLM_PYTHON": PYTHON, "TEST_HUB": HUB, "HF_ENDPOINT": HUB}


@app.local_entrypoint()
def main(prompt: str = "Why is the sky blue?") -> None:
    print(Chat().generate.remote(prompt, temperature=0))
