"""Functions of an app that are not services, as far as the modal client tells of them offline.

``modal.Function.info`` describes a function before any deployment: resources, GPUs, timeouts, Volumes,
Secrets by name, its schedule. It keeps back the layers of the image and how the function scales, which
`FunctionBlueprint.not_shown` says.
"""

from __future__ import annotations

import re
from typing import Literal

import modal
from modal.types import FunctionInfo

from ..client_state import app_functions, function_info
from ..declare.gpu import GPUProfile
from ..errors import DeclarationError
from ..pricing import container_price
from ..pricing.rates import Rates
from .values import FunctionBlueprint, ResourceUse, SecretUse, VolumeUse

__all__ = [
    "MADE_HERE",
    "describe_function",
    "function_infos",
    "mounted",
    "seen_secrets",
]

MADE_HERE = "made in the file"  # where a Secret that is stored nowhere has its name
_NOT_SHOWN = (
    "layers of the image",
    "min_containers, max_containers, buffer_containers, scaledown_window",
    "values of variables and Secrets",
)


def function_infos(app: modal.App) -> dict[str, FunctionInfo]:
    """Return what the client knows of each function by its tag; a class has ``NAME.*``."""
    found = {tag: function_info(function) for tag, function in app_functions(app).items()}
    return {tag: info for tag, info in found.items() if info is not None}


def describe_function(tag: str, info: FunctionInfo, rates: Rates) -> FunctionBlueprint:
    """Return a function's blueprint.

    Args:
        tag: Its tag on the app.
        info: What the client knows of it.
        rates: Prices of its container.
    """
    gpu, gpus = _gpu(info), tuple(f"{name}:{n}" if n > 1 else name for name, n in info.gpus)
    resources = ResourceUse(
        cpu=info.cpu,
        memory_mib=info.memory_mib,
        disk_mib=info.ephemeral_disk_mib,
        region=tuple(info.regions or ()),
        cloud=info.cloud,
        nonpreemptible=info.nonpreemptible,
    )
    price = container_price(gpu, resources, rates)
    return FunctionBlueprint(
        name=tag.removesuffix(".*"),
        kind=_kind(tag, info),
        methods=tuple(info.method_names or ()),
        gpus=gpus,
        resources=resources,
        timeout=info.timeout,
        startup_timeout=info.startup_timeout,
        concurrency=(info.concurrency_info.max_inputs if info.concurrency_info else None) or 1,
        retries=info.max_retries or 0,
        schedule=info.schedule,
        volumes=mounted(info),
        secrets=seen_secrets(info),
        web=_web(info),
        cluster=info.cluster_info.size if info.cluster_info else 1,
        container=price if gpu else price.model_copy(update={"unpriced": gpus}),
        not_shown=_NOT_SHOWN,
    )


def mounted(info: FunctionInfo) -> tuple[VolumeUse, ...]:
    """Return the Volumes and buckets of a function."""
    volumes = [
        VolumeUse(mount=str(path), name=one.name or "(unnamed)", read_only=one.read_only)
        for path, one in info.volumes.items()
    ]
    buckets = [
        VolumeUse(mount=str(path), name=one.bucket_name, read_only=one.read_only)
        for path, one in info.cloud_bucket_mounts.items()
    ]
    return (*volumes, *buckets)


def seen_secrets(info: FunctionInfo) -> tuple[SecretUse, ...]:
    """Return the Secrets of a function: by name, or by the keys of one made in the file."""
    return tuple(_secret(text) for text in info.secrets)


def _secret(text: str) -> SecretUse:
    """Read the client's own description, which names a Secret or its keys and never a value."""
    if named := re.search(r"from_name\('([^']*)'", text):
        return SecretUse(name=named[1])
    made = re.search(r"\(\[([^\]]*)\]\)", text)
    keys = made[1].split(",") if made else []
    return SecretUse(name=MADE_HERE, keys=tuple(key.strip() for key in keys if key.strip()))


def _gpu(info: FunctionInfo) -> GPUProfile | None:
    if not info.gpus:
        return None
    try:
        first, *others = (GPUProfile(name, count=n, unlisted=True) for name, n in info.gpus)
        return GPUProfile(first.gpu, count=first.count, fallbacks=others, unlisted=True)
    except DeclarationError:
        return None  # Modal is the one to refuse it; it has no price here


def _kind(tag: str, info: FunctionInfo) -> Literal["function", "class", "server"]:
    if info._inner_server_info is not None:  # noqa: SLF001 - the only mark of a server
        return "server"
    return "class" if tag.endswith(".*") else "function"


def _web(info: FunctionInfo) -> Literal["none", "proxy tokens", "anyone"]:
    server = info._inner_server_info  # noqa: SLF001 - as above
    routes = [info.web_info, server, *(info.method_details or {}).values()]
    answering = [one for one in routes if one is not None]
    if not answering:
        return "none"
    return "anyone" if any(one.unauthenticated for one in answering) else "proxy tokens"
