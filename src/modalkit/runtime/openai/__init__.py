"""The OpenAI API over HTTP, for the engine processes that modalkit brings.

A process builds a `Backend` and calls `run`; everything a client sees lives here, once.
"""

from __future__ import annotations

from .app import build_app
from .backend import (
    Backend,
    Capabilities,
    ChatMessage,
    ChatPrompt,
    Delta,
    EmbeddingRequest,
    Embeddings,
    FinishReason,
    Generation,
    GenerationRequest,
    Load,
    ModelCard,
    Prompt,
    Sampling,
    TokenChance,
    TokenLogprob,
    Tool,
    ToolCall,
)
from .problems import ApiError, context_too_long, invalid, overloaded, unsupported
from .process import ServerOptions, add_server_flags, run, server_options
from .stops import StopStrings

__all__ = [
    "ApiError",
    "Backend",
    "Capabilities",
    "ChatMessage",
    "ChatPrompt",
    "Delta",
    "EmbeddingRequest",
    "Embeddings",
    "FinishReason",
    "Generation",
    "GenerationRequest",
    "Load",
    "ModelCard",
    "Prompt",
    "Sampling",
    "ServerOptions",
    "StopStrings",
    "TokenChance",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "add_server_flags",
    "build_app",
    "context_too_long",
    "invalid",
    "overloaded",
    "run",
    "server_options",
    "unsupported",
]
