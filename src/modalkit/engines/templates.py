"""Chat templates that lie beside a service's file and travel with its image."""

from __future__ import annotations

from pathlib import PurePosixPath

from .base import Engine
from .gpu_engine import GPUEngine

__all__ = ["template_beside", "template_in_container"]


def template_beside(engine: Engine | None) -> str | None:
    """Return an engine's chat template as it is written, where that is a file beside the service's."""
    template = engine.chat_template if isinstance(engine, GPUEngine) else None
    return template if template and template.startswith(".") else None


def template_in_container(template: str) -> str:
    """Return where such a file is in the container."""
    return f"/modalkit/{PurePosixPath(template).name}"
