"""Declare a model, check it before it costs money, serve it on Modal.

Names are bound at first use, so that ``import modalkit`` costs nothing by itself and declaring
loads neither modal nor torch. Errors are in `modalkit.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cold_start import ColdStart
    from .compile import serve
    from .credentials import BearerKeys, ProxyAuth
    from .endpoints import Endpoint
    from .engines import VLLM, Echo, Engine, Launch, LoRA, SGLang, Transformers
    from .errors import ModalkitError
    from .exposure import CORS
    from .gpu import GPUProfile
    from .image import ImageSpec
    from .messages import Message, Reply
    from .plan import ServicePlan, plan_service
    from .resources import Resources
    from .routes import Batch, endpoint
    from .scaling import Scaling
    from .schedule import Cron, Period
    from .secrets import Secret
    from .service import ModelService
    from .sizing.model import ModelFacts, read_model
    from .sizing.report import size
    from .weights import WeightCache

__version__ = "0.1.0"

__all__ = [
    "CORS",
    "VLLM",
    "Batch",
    "BearerKeys",
    "ColdStart",
    "Cron",
    "Echo",
    "Endpoint",
    "Engine",
    "GPUProfile",
    "ImageSpec",
    "Launch",
    "LoRA",
    "Message",
    "ModalkitError",
    "ModelFacts",
    "ModelService",
    "Period",
    "ProxyAuth",
    "Reply",
    "Resources",
    "SGLang",
    "Scaling",
    "Secret",
    "ServicePlan",
    "Transformers",
    "WeightCache",
    "endpoint",
    "plan_service",
    "read_model",
    "serve",
    "size",
]

_HOMES = {
    "Batch": "routes",
    "BearerKeys": "credentials",
    "CORS": "exposure",
    "ColdStart": "cold_start",
    "Cron": "schedule",
    "Echo": "engines",
    "Endpoint": "endpoints",
    "Engine": "engines",
    "GPUProfile": "gpu",
    "ImageSpec": "image",
    "Launch": "engines",
    "LoRA": "engines",
    "Message": "messages",
    "ModalkitError": "errors",
    "ModelFacts": "sizing.model",
    "ModelService": "service",
    "Period": "schedule",
    "ProxyAuth": "credentials",
    "Reply": "messages",
    "Resources": "resources",
    "SGLang": "engines",
    "Scaling": "scaling",
    "Secret": "secrets",
    "ServicePlan": "plan",
    "Transformers": "engines",
    "VLLM": "engines",
    "WeightCache": "weights",
    "endpoint": "routes",
    "plan_service": "plan",
    "read_model": "sizing.model",
    "serve": "compile",
    "size": "sizing.report",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'modalkit' has no attribute {name!r}"
        raise AttributeError(msg)
    value: object = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
