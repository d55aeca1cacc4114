"""A service that leaves its GPU to modalkit: the cheapest that holds the model, and two to fall back on.

    python examples/make_models.py chat            # once: trains a small model, about a minute
    modalkit lock examples/fitted.py               # pins weights, GPUs, packages: examples/modalkit.lock
    modalkit local modal run examples/fitted.py --prompt "What is a GPU?"

Without the lock it works too, since the model is a folder beside the file; a model of the hub needs one.
"""

import modal

from modalkit import GPUProfile, ModelService, Transformers, serve

app = modal.App("fitted")


@serve(app)
class Fitted(ModelService):
    """The demonstration model, on whatever is cheapest for 16 requests of 512 tokens."""

    model = "./models/small-chat"
    engine = Transformers()
    gpu = GPUProfile.fit(context=512, concurrency=16, allowed=["T4", "L4", "A10"])
    api = None
    verify = "sha256"


@app.local_entrypoint()
def main(prompt: str = "Why is the sky blue?") -> None:
    print(Fitted().generate.remote(prompt, temperature=0))
