"""A small chat model, made on this machine, behind an OpenAI-compatible endpoint.

    python examples/make_models.py chat            # once: trains it, about a minute
    export MODALKIT_API_KEY=any-key-you-like
    modalkit local modal run examples/chat.py --prompt "What is a GPU?"

Without `modalkit local` the same commands run on Modal; there the key is a Modal Secret:
`modal secret create modalkit-api-key MODALKIT_API_KEY=...`.
"""

import modal

from modalkit import GPUProfile, ModelService, Transformers, serve

app = modal.App("chat")


@serve(app)
class Chat(ModelService):
    """A demonstration model that knows a few hundred sentences."""

    model = "./models/small-chat"
    engine = Transformers()
    gpu = GPUProfile("T4")


@app.local_entrypoint()
def main(prompt: str = "Why is the sky blue?") -> None:
    for piece in Chat().stream.remote_gen(prompt, temperature=0):
        print(piece, end="", flush=True)
    print()
