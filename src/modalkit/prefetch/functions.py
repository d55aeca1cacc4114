"""The Modal functions that prefetch: one on the user's app, and one for ``modalkit prefetch``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any
from weakref import WeakSet

import modal

from ..client_state import app_functions
from ..declare.image import ImageSpec
from ..declare.secrets import secrets_to_modal
from ..declare.weights_sources import LocalFolder
from ..plan import ServicePlan
from ..service import ModelService, service_file
from . import remote
from .jobs import Job, jobs_as_text, jobs_of, volumes_of

__all__ = ["FUNCTION", "Planned", "add_prefetch", "prefetch_keywords"]

FUNCTION = "prefetch"
"""The function's name: ``modal run chat.py::prefetch``."""

# huggingface_hub lists the files; tested with this version.
_REQUIREMENT = "huggingface_hub==2.4.0"
# Fetching, hashing and writing a gigabyte a second keep about two cores busy; memory stays flat.
_CPU, _MEMORY_MIB = 2.0, 2048
_TIMEOUT_S = 24 * 3600  # Modal's longest

# Which values of that name in users' modules are ours.
_ADDED: WeakSet[object] = WeakSet()

Planned = tuple[type[ModelService], ServicePlan]


def add_prefetch(app: modal.App, services: Sequence[Planned]) -> None:
    """Give an app the function that fills the caches of its services, under its name in their module.

    With every further service it is made anew, for all of them. A module that uses the name for
    something else keeps it; ``modal run FILE::app.prefetch`` then runs the function.

    Args:
        app: The user's app.
        services: Every service of it so far.
    """
    keywords = prefetch_keywords(services)
    if not keywords or not modal.is_local():
        return
    # Modal warns of a second function of the same name; this one takes the first one's place.
    app_functions(app).pop(FUNCTION, None)
    function = app.function(name=FUNCTION, **keywords)(remote.prefetch)
    module = sys.modules.get(services[-1][0].__module__)
    taken = getattr(module, FUNCTION, None)
    if module is not None and (taken is None or taken in _ADDED):
        setattr(module, FUNCTION, function)
    _ADDED.add(function)


def prefetch_keywords(services: Sequence[Planned]) -> dict[str, Any]:
    """Return what ``app.function`` gets to fill the caches of some services; nothing if there are none."""
    jobs = [job for service, plan in services for job in jobs_of(service, plan)]
    if not jobs:
        return {}
    concerned = [pair for pair in services if jobs_of(*pair)]
    variables = {key: value for service, _ in concerned for key, value in service.env.items()}
    return {
        "image": _image(concerned),
        "volumes": _volumes(jobs),
        "secrets": secrets_to_modal(
            secret for service, _ in concerned for secret in service.secrets
        ),
        "env": {**variables, "HF_XET_HIGH_PERFORMANCE": "1", remote.JOBS: jobs_as_text(jobs)},
        "cpu": _CPU,
        "memory": _MEMORY_MIB,
        "timeout": _TIMEOUT_S,
        "max_containers": 1,  # two at once would fetch everything twice
        "single_use_containers": True,  # each sees what the one before it committed
        "include_source": False,  # the image has modalkit already
    }


def _image(services: Iterable[Planned]) -> modal.Image:
    image = ImageSpec().with_modalkit().uv(_REQUIREMENT)
    for service, plan in services:
        for job in jobs_of(service, plan):
            if isinstance(source := job.wanted.source, LocalFolder) and job.source_mount:
                folder = service_file(service).parent / source.path
                image = image.local_dir(str(folder.resolve()), job.source_mount)
    return image.to_modal()


def _volumes(
    jobs: Sequence[Job],
) -> dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount]:
    mounts: dict[str | PurePosixPath, modal.Volume | modal.CloudBucketMount] = {}
    for mount, cache in volumes_of(jobs).items():
        whole = cache.model_copy(update={"mount": mount, "sub_path": None, "read_only": False})
        mounts |= whole.to_modal()
    for job in jobs:
        source = job.wanted.source
        if job.source_mount and source is not None and not isinstance(source, LocalFolder):
            mounts[job.source_mount] = source.to_modal()
    return mounts
