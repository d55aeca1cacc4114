"""Adapters, JSON schemas and aliases on vLLM; the variables say where what they need lies."""

import os
from typing import ClassVar

import modal

from modalkit import VLLM, BearerKeys, Endpoint, GPUProfile, ImageSpec, LoRA, ModelService, serve
from modalkit.declare.scaling import Scaling

PYTHON, ADAPTERS = os.environ["TEST_VLLM_PYTHON"], os.environ["TEST_ADAPTERS"]
app = modal.App("vllm-adapted")


@serve(app)
class Adapted(ModelService):
    model = "../../../examples/models/small-chat"
    engine = VLLM(
        interpreter=PYTHON,
        context_length=512,
        dtype="bfloat16",
        cuda_graphs=False,
        aliases=("another-name",),
        lora=[LoRA("shipped", "/adapters/shipped")],
        lora_folder="/adapters",
        lora_slots=2,
        structured_output="xgrammar",
        # A model this small would go on with white space for ever.
        extra_args=("--structured-outputs-config.disable_any_whitespace", "true"),
        env={"VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    gpu = GPUProfile("T4")
    image = ImageSpec.engine().local_dir(ADAPTERS, "/adapters")
    api = Endpoint(auth=BearerKeys())
    scaling = Scaling(max_containers=1, scaledown_window=600)
    env: ClassVar = {"TEST_VLLM_PYTHON": PYTHON, "TEST_ADAPTERS": ADAPTERS}
