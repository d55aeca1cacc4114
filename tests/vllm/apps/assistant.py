"""A model of pictures on vLLM, with tools, reasoning and guesses ahead; the variable says where it was made."""

import os
from typing import ClassVar

import modal

from modalkit import VLLM, BearerKeys, Endpoint, GPUProfile, ImageSpec, ModelService, Scaling, serve
from modalkit.engines import Speculative

PYTHON, MODEL = os.environ["TEST_VLLM_PYTHON"], os.environ["TEST_VISION_MODEL"]
app = modal.App("vllm-assistant")


@serve(app)
class Assistant(ModelService):
    model = "/models/assistant"
    engine = VLLM(
        interpreter=PYTHON,
        served_name="assistant",
        context_length=512,
        dtype="float32",
        cuda_graphs=False,
        multimodal_limits={"image": 1},
        tool_parser="hermes",
        reasoning_parser="granite",
        chat_template="./assistant.jinja",
        speculative=Speculative(method="ngram", draft_tokens=4),
        # So that a test can make the model think aloud.
        extra_args=("--structured-outputs-config.enable_in_reasoning", "true"),
        env={"VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    gpu = GPUProfile("T4")
    image = ImageSpec.engine().local_dir(MODEL, "/models/assistant")
    api = Endpoint(auth=BearerKeys(), metrics="key")
    scaling = Scaling(max_containers=1, scaledown_window=600)
    env: ClassVar = {"TEST_VLLM_PYTHON": PYTHON, "TEST_VISION_MODEL": MODEL}
