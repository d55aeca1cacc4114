"""A chat model behind an OpenAI-compatible endpoint, on this machine or on Modal.

    python examples/make_models.py chat            # once: trains a small model, about a minute
    export MODALKIT_API_KEY=any-key-you-like
    modalkit local modal run examples/chat.py --prompt "What is a GPU?"

Leave out `modalkit local` and the same commands run on Modal; the key is then a Modal Secret:
`modal secret create modalkit-api-key MODALKIT_API_KEY=...`.
"""

import time

import modal

from modalkit import BearerKeys, Endpoint, GPUProfile, ModelService, Transformers, serve

app = modal.App("chat")


@serve(app)
class Chat(ModelService):
    """A demonstration model that knows a few hundred sentences."""

    model = "./models/small-chat"
    engine = Transformers()
    gpu = GPUProfile("T4")
    api = Endpoint(auth=BearerKeys())


@app.local_entrypoint()
def main(prompt: str = "Why is the sky blue?") -> None:
    asked = time.monotonic()
    pieces = Chat().stream.remote_gen(prompt, temperature=0)
    answer = next(pieces)
    cold_s = time.monotonic() - asked
    print(f"\n  you   {prompt}\n  chat  {answer}", end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)

    asked = time.monotonic()
    Chat().generate.remote(prompt, temperature=0)
    warm_s = time.monotonic() - asked
    print(f"\n\n  first word after {cold_s:.1f} s cold (container, engine, model)")
    print(f"  whole answer in {warm_s:.2f} s warm")
    print(f"  OpenAI endpoint {Chat().http.get_web_url()}/v1 (while it runs: modal serve)\n")
