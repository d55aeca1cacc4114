"""Progress as plain lines, for logs and pipes: one when something changes, and one every few seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from .progress import Progress, Stage

__all__ = ["human_bytes", "human_time", "lines", "rate", "summary"]

_EVERY_S = 5.0


def lines(events: Iterable[Progress], every_s: float = _EVERY_S) -> Iterator[str]:
    """Turn progress into lines.

    Args:
        events: What `fill` tells.
        every_s: Seconds between two lines of the same stage.
    """
    last: tuple[str, Stage] | None = None
    said_at = 0.0
    for event in events:
        now, changed = time.monotonic(), (event.model, event.stage) != last
        if changed or now - said_at >= every_s:
            last, said_at = (event.model, event.stage), now
            yield summary(event)


def summary(event: Progress) -> str:
    """Return one line of how far it is."""
    there = f"{human_bytes(event.done_bytes)} in {event.done_files} file(s)"
    match event.stage:
        case "done":
            return f"{event.model}: {there}, complete and verified. {event.note}".rstrip()
        case "fetching":
            return f"{event.model}: {_how_far(event)}"
        case "checking":
            return f"{event.model}: {there} are here already, of {human_bytes(event.total_bytes)}"
        case "verified":
            return f"{event.model}: {there} verified"
        case "committing":
            return f"{event.model}: committing the Volume"
        case _:
            return f"{event.model}: {event.note}"


def rate(event: Progress) -> str:
    """Return how fast it comes and how long it will take, as far as that is known.

    Examples:
        >>> rate(Progress("org/model", "fetching", bytes_per_s=2e6, left_s=65))
        '2.0 MB/s, 1:05 left'
        >>> rate(Progress("org/model", "checking"))
        ''
    """
    if event.stage != "fetching":
        return ""
    left = f", {human_time(event.left_s)} left" if event.left_s is not None else ""
    return f"{human_bytes(event.bytes_per_s)}/s{left}"


def _how_far(event: Progress) -> str:
    share = event.done_bytes / event.total_bytes if event.total_bytes else 1.0
    return (
        f"{share:4.0%} {human_bytes(event.done_bytes)} of {human_bytes(event.total_bytes)}, "
        f"{event.done_files} of {event.total_files} files, {rate(event)}"
    )


def human_bytes(count: float) -> str:
    """Return bytes as people write them: ``16.4 GB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:  # noqa: PLR2004 - decimal units, as disks and hubs use them
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def human_time(seconds: float) -> str:
    """Return seconds as people write them: ``1:05``, ``2:00:00``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
