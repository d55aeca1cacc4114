"""Qwen3-8B on SGLang: what `modal deploy` needs, and nothing else.

    modal secret create modalkit-api-key MODALKIT_API_KEY=...
    modalkit prefetch examples/sglang_qwen.py    # once: the weights, on a CPU container
    modal deploy examples/sglang_qwen.py

It needs a GPU of Modal's; on this machine it compiles, and `modalkit local` says what is missing.
"""

import modal

from modalkit import (
    BearerKeys,
    Endpoint,
    GPUProfile,
    ModelService,
    Scaling,
    SGLang,
    WeightCache,
    serve,
)

app = modal.App("sglang-qwen")


@serve(app)
class Qwen(ModelService):
    """Qwen3-8B behind an OpenAI-compatible endpoint."""

    model = "Qwen/Qwen3-8B"
    engine = SGLang(context_length=32_768, tool_parser="qwen", reasoning_parser="qwen3")
    gpu = GPUProfile("L40S", fallbacks=["A100-80GB", "H100"])
    weights = WeightCache("qwen3")
    api = Endpoint(auth=BearerKeys())
    scaling = Scaling(max_containers=4, concurrency=64)


@app.local_entrypoint()
def main(prompt: str = "Why is the sky blue?") -> None:
    for piece in Qwen().stream.remote_gen(prompt):
        print(piece, end="", flush=True)
