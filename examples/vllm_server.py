"""Qwen3-30B-A3B on vLLM behind Modal's low-latency server: HTTP only, straight to the engine.

    modal secret create modalkit-api-key MODALKIT_API_KEY=...
    modalkit prefetch examples/vllm_server.py    # once: the weights, on a CPU container
    modal deploy examples/vllm_server.py

Requests reach vLLM's own port; modalkit's door in vLLM's process asks for the key and closes every
route that is not for clients, and no other process stands between client and engine.
"""

import modal

from modalkit import (
    VLLM,
    BearerKeys,
    Endpoint,
    GPUProfile,
    ModelService,
    Scaling,
    WeightCache,
    serve,
)

app = modal.App("vllm-qwen")


@serve(app)
class Qwen(ModelService):
    """Qwen3-30B-A3B on two H100s."""

    model = "Qwen/Qwen3-30B-A3B"
    engine = VLLM(context_length=32_768, tool_parser="hermes", reasoning_parser="qwen3")
    gpu = GPUProfile("H100:2", fallbacks=["H200:1"])
    weights = WeightCache("qwen3-moe")
    api = Endpoint(kind="server", auth=BearerKeys(), routing_region="us-east")
    scaling = Scaling(max_containers=2, target_concurrency=32)
