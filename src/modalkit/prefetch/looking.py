"""Whether a Volume holds what is wanted, asked through Modal's API: no container starts for it."""

from __future__ import annotations

import modal
from modal.exception import NotFoundError

from .jobs import Job
from .layout import blob_path, manifest_path
from .manifest import Manifest, parse_manifest, problem_with

__all__ = ["complete_in_volume"]


def complete_in_volume(job: Job) -> Manifest | None:
    """Return the manifest of what a job would bring, if all of it is in the Volume already."""
    cache = job.cache
    volume = modal.Volume.from_name(cache.name, environment_name=cache.environment_name)
    inside = str(job.root_in_volume / manifest_path(job.wanted.model, job.wanted.asked))
    try:
        manifest = parse_manifest(b"".join(volume.read_file(inside)))
    except (NotFoundError, FileNotFoundError):
        return None
    if manifest is None:
        return None
    sizes = _sizes(volume, job)
    return None if problem_with(manifest, job.wanted, sizes.get) else manifest


def _sizes(volume: modal.Volume, job: Job) -> dict[str, int]:
    """Bytes of the contents of the model, by their names."""
    folder = str((job.root_in_volume / blob_path(job.wanted.model, "x")).parent)
    try:
        entries = volume.listdir(folder)
    except (NotFoundError, FileNotFoundError):
        return {}
    return {entry.path.rpartition("/")[2]: entry.size for entry in entries}
