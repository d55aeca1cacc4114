"""Engines: processes that speak the OpenAI API on a port, declared as data."""

from __future__ import annotations

from .base import Engine, Launch
from .echo import Echo
from .gpu_engine import GPUEngine
from .lora import LoRA
from .own_server import OwnServer
from .recipes import Recipe, recipe_for, recipes
from .sets import EngineSet, engine_set
from .sglang import SGLang
from .speculative import Speculative
from .transformers import Transformers
from .vllm import VLLM

__all__ = [
    "VLLM",
    "Echo",
    "Engine",
    "EngineSet",
    "GPUEngine",
    "Launch",
    "LoRA",
    "OwnServer",
    "Recipe",
    "SGLang",
    "Speculative",
    "Transformers",
    "engine_set",
    "recipe_for",
    "recipes",
]
