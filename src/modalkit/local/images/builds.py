"""The builds of a plane: those under way, and the last of those that are over."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from .built import Built
from .logs import BuildLog

__all__ = ["Build", "Builds"]

_KEPT_BUILDS = 100


@dataclass(eq=False)
class Build:
    """One build, under way or over.

    Attributes:
        started_at: Seconds since the epoch.
        took_s: Seconds; 0 while it is under way.
        error: Why it failed; empty if it did not.
    """

    image_id: str
    log: BuildLog
    what: str
    started_at: float = field(default_factory=time.time)
    took_s: float = 0.0
    error: str = ""
    task: asyncio.Task[Built] | None = None

    @property
    def status(self) -> str:
        """``building``, ``built`` or ``failed``."""
        if self.error:
            return "failed"
        return "built" if self.log.done else "building"


@dataclass
class Builds:
    """The builds of this plane.

    Attributes:
        recent: The last 100, newest last.
    """

    recent: deque[Build] = field(default_factory=lambda: deque(maxlen=_KEPT_BUILDS))
    under_way: dict[str, Build] = field(default_factory=dict)

    def latest(self, image_id: str) -> Build | None:
        """Return the last build of an image, if this plane built it."""
        return next((build for build in reversed(self.recent) if build.image_id == image_id), None)
