"""What runs in a prefetch container: Modal imports this module there, never the user's file.

So the container needs none of what the service's image has, and starts in a slim one.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path

import modal

from .fill import fill
from .hub_source import HubSource
from .jobs import Job, jobs_from_text
from .lines import lines
from .progress import Progress
from .sources import FolderSource, Source

__all__ = ["JOBS", "prefetch", "prefetch_events"]

JOBS = "MODALKIT_PREFETCH"
"""The variable that holds a container's jobs."""


def prefetch(again: bool = False) -> None:
    """Fill the caches of an app's services, and print how far it is.

    Args:
        again: Ask the sources again, and read every file that is there.
    """
    for line in lines(prefetch_events(again)):
        print(line, flush=True)  # noqa: T201 - what a container prints is what `modal run` shows


def prefetch_events(again: bool = False) -> Iterator[Progress]:
    """Fill the caches of an app's services, and tell how far it is.

    One Volume after the other is filled and committed once, when all its models are there, and only
    then are they told as ``done``. What ends before that has no commit of its own: Modal's, when the
    container ends, keeps the models that are whole and the parts of the others; the local Modal has
    none when a container is killed, and keeps what was committed.

    Args:
        again: Ask the sources again, and read every file that is there.

    Raises:
        HubError: A source does not give what is wanted.
        WeightsError: A file is not the one that is locked, or the disk is full.
    """
    by_volume: dict[str, list[Job]] = {}
    for job in jobs_from_text(os.environ[JOBS]):
        by_volume.setdefault(job.volume_mount, []).append(job)
    for jobs in by_volume.values():
        fetched = []
        for job in jobs:
            last = yield from _filled(job, again=again)
            if last is not None:
                fetched.append((job, last))
        if fetched:
            yield from _committed(fetched)


def _filled(job: Job, *, again: bool) -> Generator[Progress, None, Progress | None]:
    """Fill a cache with a model; what to tell once it is committed, None where all was there."""
    began = False
    for event in fill(Path(job.root), job.wanted, partial(_open, job), again=again):
        if began and event.stage == "done":
            yield event.at("verified")
            return event
        began = True
        yield event
    return None


def _committed(filled: Sequence[tuple[Job, Progress]]) -> Iterator[Progress]:
    """Commit the Volume that some models were fetched into; then each of them is done."""
    job, first = filled[0]
    yield first.at("committing")
    _volume(job).commit()
    for _, last in filled:
        yield last


def _open(job: Job) -> Source:
    if job.source_mount is None:
        return HubSource(job.wanted.model, job.wanted.asked)
    return FolderSource(Path(job.source_mount), job.wanted.source_text)


def _volume(job: Job) -> modal.Volume:
    return modal.Volume.from_name(job.cache.name, environment_name=job.cache.environment_name)
