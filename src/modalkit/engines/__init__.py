"""Engines: processes that speak the OpenAI API on a port, declared as data."""

from __future__ import annotations

from .base import Engine, Launch
from .echo import Echo
from .gpu_engine import GPUEngine
from .own_server import OwnServer
from .sglang import SGLang
from .speculative import Speculative
from .transformers import Transformers
from .vllm import VLLM

__all__ = [
    "VLLM",
    "Echo",
    "Engine",
    "GPUEngine",
    "Launch",
    "OwnServer",
    "SGLang",
    "Speculative",
    "Transformers",
]
