"""What a prefetch container is told: which models, into which Volume, from where. Plain data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from pydantic import TypeAdapter

from .._values import Value
from ..declare.weights import WeightCache
from ..plan import ServicePlan
from ..service import ModelService
from .wanted import Wanted, wanted_models

__all__ = ["Job", "jobs_as_text", "jobs_from_text", "jobs_of", "volumes_of"]

_CACHES = PurePosixPath("/caches")
_SOURCES = PurePosixPath("/sources")


class Job(Value):
    """One model to bring into one cache.

    Attributes:
        service: The service's name.
        wanted: The model.
        cache: The cache as the service declares it.
        source_mount: Where a source that is not the hub is mounted; None for the hub.
    """

    service: str
    wanted: Wanted
    cache: WeightCache
    source_mount: str | None = None

    @property
    def volume_mount(self) -> str:
        """Where the whole Volume is mounted in a prefetch container."""
        return str(_CACHES / (self.cache.environment_name or "default") / self.cache.name)

    @property
    def root(self) -> PurePosixPath:
        """Where the cache is in a prefetch container."""
        return PurePosixPath(self.volume_mount) / self.root_in_volume

    @property
    def root_in_volume(self) -> PurePosixPath:
        """Where the cache is in its Volume."""
        return PurePosixPath((self.cache.sub_path or "").strip("/"))


def jobs_of(service: type[ModelService], plan: ServicePlan) -> tuple[Job, ...]:
    """Return what has to be done for a service; nothing where its cache is not prefetched."""
    cache = service.weights
    return tuple(
        Job(
            service=service.__name__,
            wanted=wanted,
            cache=cache,
            source_mount=str(_SOURCES / service.__name__) if wanted.source else None,
        )
        for wanted in wanted_models(service, plan)
        if cache is not None
    )


def volumes_of(jobs: Iterable[Job]) -> dict[str, WeightCache]:
    """Return the cache whose whole Volume is mounted at each place; a Volume is mounted once."""
    return {job.volume_mount: job.cache for job in jobs}


_JOBS = TypeAdapter(tuple[Job, ...])


def jobs_as_text(jobs: Iterable[Job]) -> str:
    """Write jobs for a container's environment; there are no secrets in them, only their names."""
    return _JOBS.dump_json(tuple(jobs), exclude_defaults=True).decode()


def jobs_from_text(text: str) -> tuple[Job, ...]:
    """Read what `jobs_as_text` wrote."""
    return _JOBS.validate_json(text)
