"""Vectors from real vLLM, against sentence-transformers' own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.engines, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def test_vllm_embeds_as_sentence_transformers_does(vllm_modal):
    """The typed method's vectors point where sentence-transformers' do, to a cosine of 0.9999."""
    from sentence_transformers import SentenceTransformer

    vllm_modal.command("modal", "deploy", str(ROOT / "tests" / "vllm" / "apps" / "embedder.py"))
    try:
        texts = ["How do I reset my password?", "Der Himmel ist blau.", "a"]
        ours = np.array(vllm_modal.cls("vllm-embedder", "Embedder")().embed.remote(texts))
    finally:
        vllm_modal.command("modal", "app", "stop", "vllm-embedder", "--yes")
    model = SentenceTransformer(str(ROOT / "examples" / "models" / "all-MiniLM-L6-v2"))
    theirs = model.encode(texts, normalize_embeddings=True)
    norms = np.linalg.norm(ours, axis=1, keepdims=True)
    assert np.all(np.sum(ours / norms * theirs, axis=1) > 0.9999)
