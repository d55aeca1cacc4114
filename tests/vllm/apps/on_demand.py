"""An adapter of the hub on vLLM, loaded when a client first asks for its name."""

import os
from typing import ClassVar

import modal

from modalkit import VLLM, BearerKeys, Endpoint, GPUProfile, LoRA, ModelService, WeightCache, serve

PYTHON, HUB = os.environ["TEST_VLLM_PYTHON"], os.environ["TEST_HUB"]
app = modal.App("vllm-on-demand")


@serve(app)
class Chat(ModelService):
    model = "acme/small-chat"
    engine = VLLM(
        interpreter=PYTHON,
        context_length=512,
        dtype="bfloat16",
        cuda_graphs=False,
        lora=[
            LoRA("first", "acme/first-lora"),
            LoRA("later", "acme/later-lora", on_demand=True),
        ],
        lora_slots=2,
        env={"VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    gpu = GPUProfile("T4")
    weights = WeightCache("on-demand")
    api = Endpoint(auth=BearerKeys())
    env: ClassVar = {"TEST_VLLM_PYTHON": PYTHON, "TEST_HUB": HUB, "HF_ENDPOINT": HUB}
