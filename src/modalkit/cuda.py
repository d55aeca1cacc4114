"""Which CUDA a GPU needs, and which one an image brings.

Modal says that a B300 needs CUDA 13.1, and may give one to whoever asks for ``"B200+"``. Only the
tag of a base image tells its CUDA offline: ``nvidia/cuda:13.0.2-devel-ubuntu24.04``.
"""

from __future__ import annotations

import re

from .declare.gpu import gpu_catalogue
from .declare.image import ImageSpec
from .declare.image.bases import Registry
from .service import ModelService

__all__ = ["cuda_of", "cuda_problem", "needed_cuda", "proven_cuda"]

_TAG = re.compile(r"(?:^|/)cuda:(\d+)\.(\d+)")
_LARGER = {"B200+": "B300"}  # what else a spelling may be given


def needed_cuda(gpu: str) -> str | None:
    """Return the oldest CUDA for a GPU as Modal writes it, ``"B200+"`` included; None for any."""
    known = gpu_catalogue()
    found = known.get(_LARGER.get(gpu, gpu))
    return found.min_cuda if found else None


def cuda_of(image: ImageSpec) -> tuple[int, int] | None:
    """Return the CUDA that an image's base names; None where its tag does not say."""
    found = _TAG.search(image.base.tag) if isinstance(image.base, Registry) else None
    return (int(found[1]), int(found[2])) if found else None


def cuda_problem(gpu: str, service: type[ModelService]) -> str:
    """Return why a GPU does not work with the CUDA of a service; empty where it does or nobody knows."""
    needed, brought = needed_cuda(gpu), cuda_of(_image(service))
    if needed is None or brought is None or brought >= _version(needed):
        return ""
    given = f"{gpu!r} may be given a {_LARGER[gpu]}, which" if gpu in _LARGER else repr(gpu)
    instead = f"Write {gpu.removesuffix('+')!r}" if gpu in _LARGER else "Name another GPU"
    return (
        f"gpu {given} needs CUDA {needed}, and the image brings {brought[0]}.{brought[1]}. {instead}, or "
        f"give the engine a base_image of CUDA {needed} or newer."
    )


def proven_cuda(gpu: str, service: type[ModelService]) -> bool:
    """Return whether the image's own tag says that its CUDA is new enough for a GPU."""
    needed, brought = needed_cuda(gpu), cuda_of(_image(service))
    return needed is None or (brought is not None and brought >= _version(needed))


def _image(service: type[ModelService]) -> ImageSpec:
    """The image whose base counts: the service's own, or its engine's."""
    own, engine = service.image, service.engine
    if engine is not None and (own is None or own.extends_engine):
        return engine.image()
    return own or ImageSpec()


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)
