"""What runs in a prefetch container: Modal imports this module there, never the user's file.

So the container needs none of what the service's image has, and starts in a slim one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
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

    Args:
        again: Ask the sources again, and read every file that is there.

    Raises:
        HubError: A source does not give what is wanted.
        WeightsError: A file is not the one that is locked, or the disk is full.
    """
    for job in jobs_from_text(os.environ[JOBS]):
        fetched = False
        for event in fill(Path(job.root), job.wanted, partial(_open, job), again=again):
            if event.stage != "done":
                fetched = True
                yield event
                continue
            if fetched:
                yield event.at("committing")
                _volume(job).commit()
            yield event


def _open(job: Job) -> Source:
    if job.source_mount is None:
        return HubSource(job.wanted.model, job.wanted.asked)
    return FolderSource(Path(job.source_mount), job.wanted.source_text)


def _volume(job: Job) -> modal.Volume:
    return modal.Volume.from_name(job.cache.name, environment_name=job.cache.environment_name)
