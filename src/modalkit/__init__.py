"""Declare a model, check it before it costs money, serve it on Modal.

Names are bound at first use, so that ``import modalkit`` costs nothing by itself and declaring
loads neither modal nor torch. Errors are in `modalkit.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .compile import serve
    from .declare.batches import Batch
    from .declare.cold_start import ColdStart
    from .declare.credentials import BearerKeys, ProxyAuth
    from .declare.endpoints import Endpoint
    from .declare.exposure import CORS
    from .declare.files import File
    from .declare.gpu import GPUProfile
    from .declare.image import ImageSpec
    from .declare.live_batches import LiveBatch
    from .declare.messages import Message, Reply
    from .declare.resources import Resources
    from .declare.routes import endpoint
    from .declare.scaling import Scaling
    from .declare.schedule import Cron, Period
    from .declare.secrets import Secret
    from .declare.webhook import Webhook
    from .declare.weights import WeightCache
    from .engines import VLLM, Echo, Engine, Launch, LoRA, SGLang, Speculative, Transformers
    from .errors import ModalkitError
    from .plan import ServicePlan, plan_service
    from .runtime.observe.remote import traced
    from .runtime.observe.request_ids import request_id
    from .runtime.wire_arrays import Array
    from .runtime.wire_images import Picture
    from .service import ModelService
    from .sizing.model import ModelFacts, read_model
    from .sizing.report import size

__version__ = "0.1.0"

__all__ = [
    "CORS",
    "VLLM",
    "Array",
    "Batch",
    "BearerKeys",
    "ColdStart",
    "Cron",
    "Echo",
    "Endpoint",
    "Engine",
    "File",
    "GPUProfile",
    "ImageSpec",
    "Launch",
    "LiveBatch",
    "LoRA",
    "Message",
    "ModalkitError",
    "ModelFacts",
    "ModelService",
    "Period",
    "Picture",
    "ProxyAuth",
    "Reply",
    "Resources",
    "SGLang",
    "Scaling",
    "Secret",
    "ServicePlan",
    "Speculative",
    "Transformers",
    "Webhook",
    "WeightCache",
    "endpoint",
    "plan_service",
    "read_model",
    "request_id",
    "serve",
    "size",
    "traced",
]

_HOMES = {
    "Array": "runtime.wire_arrays",
    "Batch": "declare.batches",
    "BearerKeys": "declare.credentials",
    "CORS": "declare.exposure",
    "ColdStart": "declare.cold_start",
    "Cron": "declare.schedule",
    "Echo": "engines",
    "Endpoint": "declare.endpoints",
    "Engine": "engines",
    "File": "declare.files",
    "GPUProfile": "declare.gpu",
    "ImageSpec": "declare.image",
    "Launch": "engines",
    "LiveBatch": "declare.live_batches",
    "LoRA": "engines",
    "Message": "declare.messages",
    "ModalkitError": "errors",
    "ModelFacts": "sizing.model",
    "ModelService": "service",
    "Period": "declare.schedule",
    "Picture": "runtime.wire_images",
    "ProxyAuth": "declare.credentials",
    "Reply": "declare.messages",
    "Resources": "declare.resources",
    "SGLang": "engines",
    "Scaling": "declare.scaling",
    "Secret": "declare.secrets",
    "ServicePlan": "plan",
    "Speculative": "engines",
    "Transformers": "engines",
    "VLLM": "engines",
    "Webhook": "declare.webhook",
    "WeightCache": "declare.weights",
    "endpoint": "declare.routes",
    "plan_service": "plan",
    "read_model": "sizing.model",
    "request_id": "runtime.observe.request_ids",
    "serve": "compile",
    "size": "sizing.report",
    "traced": "runtime.observe.remote",
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
