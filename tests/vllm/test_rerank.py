"""A reranker on real vLLM, against sentence-transformers' own scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .tiny_models import make_cross_encoder

pytestmark = [pytest.mark.engines, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
QUERY = "How do I reset my password?"
DOCUMENTS = ["Click on 'forgotten'.", "Der Himmel ist blau.", "a", "Passwords are reset by mail."]


def test_vllm_ranks_as_the_cross_encoder_does(vllm_modal, tmp_path):
    """The typed method's scores are the cross-encoder's own, the best document first."""
    from sentence_transformers import CrossEncoder

    folder = tmp_path / "cross-encoder"
    make_cross_encoder(folder, ROOT / "examples" / "models" / "all-MiniLM-L6-v2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_CROSS_ENCODER", str(folder))
        app = ROOT / "tests" / "vllm" / "apps" / "reranker.py"
        vllm_modal.command("modal", "deploy", str(app))
    try:
        ranked = vllm_modal.cls("vllm-reranker", "Reranker")().rerank.remote(QUERY, DOCUMENTS)
    finally:
        vllm_modal.command("modal", "app", "stop", "vllm-reranker", "--yes")
    scores = CrossEncoder(str(folder)).predict([(QUERY, one) for one in DOCUMENTS])
    assert np.ptp(scores) > 0.01  # the weights tell them apart
    assert [one.index for one in ranked] == list(np.argsort(-scores))
    assert np.allclose([one.score for one in ranked], np.sort(scores)[::-1], atol=1e-3)
