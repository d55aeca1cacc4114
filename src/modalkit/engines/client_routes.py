"""The routes of each engine that are for its clients; every other stays closed to the outside.

Read in the sources of SGLang 0.5.23 (``srt/entrypoints/http_server.py``) and vLLM 0.33.0
(``vllm/entrypoints``) on 2026-11-21. Routes that change the server (sleep, weights, adapters,
profiles, sessions), tell about it (``/server_info``, ``/load``) or take tokens and program text in
place of a request (``/generate``, ``/inference/v1``, ``/invocations``) are left out on purpose.
"""

from __future__ import annotations

__all__ = ["COMMON_ROUTES", "SGLANG_ROUTES", "VLLM_ROUTES"]

# ``/v1/models/ID`` belongs to ``/v1/models``: the door lets it through by its form.
COMMON_ROUTES = frozenset(
    {
        "/detokenize",
        "/tokenize",
        "/v1/audio/transcriptions",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/models",
        "/v1/rerank",
        "/v1/responses",
        "/v1/score",
    }
)

VLLM_ROUTES = COMMON_ROUTES | {
    "/classify",
    "/pooling",
    "/rerank",
    "/score",
    "/v1/audio/translations",
    "/v2/embed",
    "/v2/rerank",
}

SGLANG_ROUTES = COMMON_ROUTES | {"/classify", "/v1/classify", "/v1/detokenize", "/v1/tokenize"}
