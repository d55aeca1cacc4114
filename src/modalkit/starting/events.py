"""What the process that starts an app tells the one that watches it: a JSON object on a line."""

from __future__ import annotations

import json
from contextlib import suppress

__all__ = ["ASKED", "FAILED", "event_line", "read_event"]

ASKED = "modalkit.asked"
FAILED = "modalkit.failed"


def event_line(event: str, value: float | str) -> str:
    """Return an event as a line.

    Args:
        event: `ASKED`, with the time in seconds since 1970; or `FAILED`, with the reason.
        value: What belongs to it.
    """
    return json.dumps({"event": event, "value": value})


def read_event(line: str) -> tuple[str, float | str] | None:
    """Return the event of a line and what belongs to it; None of a line that holds none.

    Examples:
        >>> read_event(event_line(FAILED, "no GPU"))
        ('modalkit.failed', 'no GPU')
        >>> read_event("{}") is None
        True
    """
    with suppress(ValueError, KeyError, TypeError):
        fields = json.loads(line)
        if fields["event"] in {ASKED, FAILED}:
            return fields["event"], fields["value"]
    return None
