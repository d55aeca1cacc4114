"""A file's service on the local Modal, for as long as something loads it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from ..errors import BenchError
from ..plan import ServicePlan
from .serving_driver import FAILED, SERVING

__all__ = ["Served", "served"]

_LAST_LINES = 25
_END_S = 60.0
_COMMAND = ("-c", "from modalkit.cli import main; main()", "local", "--quiet", "--")
_DRIVER = ("-m", "modalkit.bench.serving_driver")


class Served(NamedTuple):
    """A service that answers.

    Attributes:
        url: Where.
        headers: What opens it; the local Modal's own, and a key made for this time.
    """

    url: str
    headers: Mapping[str, str]


@contextmanager
def served(
    file: str, plan: ServicePlan, within_s: float, heard: Callable[[str], None]
) -> Iterator[Served]:
    """Serve a file's service on the local Modal for the time of a block.

    Args:
        file: The file that declares it.
        plan: The service.
        within_s: Seconds until it must have an address; its container starts with the first request.
        heard: Told every line that comes out of it.

    Raises:
        BenchError: It has no endpoint, or it was not served; the message has the last lines.
    """
    if plan.endpoint is None:
        msg = f"{plan.name} has no HTTP endpoint. Bench another service of the file: FILE::NAME."
        raise BenchError(msg)
    keys, headers = _keys(plan)
    process = subprocess.Popen(
        [sys.executable, *_COMMAND, sys.executable, *_DRIVER, file, plan.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **keys},
        start_new_session=True,  # a Ctrl-C is for the bench, which then ends this
    )
    try:
        yield _when_served(process, plan, headers, within_s, heard)
    finally:
        _end(process)


def _keys(plan: ServicePlan) -> tuple[dict[str, str], dict[str, str]]:
    """A Bearer key for the service where it asks for one: as variable, and as header."""
    asked = plan.endpoint.keys if plan.endpoint else None
    if asked is None:
        return {}, {}
    given = os.environ.get(asked.variable, "").strip() or secrets.token_urlsafe(24)
    return {asked.variable: given}, {"Authorization": f"Bearer {given.split(',')[0].strip()}"}


def _when_served(
    process: subprocess.Popen[str],
    plan: ServicePlan,
    headers: Mapping[str, str],
    within_s: float,
    heard: Callable[[str], None],
) -> Served:
    assert process.stdout is not None  # noqa: S101 - asked for
    last: deque[str] = deque(maxlen=_LAST_LINES)
    clock = threading.Timer(within_s, process.send_signal, [signal.SIGTERM])
    clock.daemon = True
    clock.start()
    try:
        for line in process.stdout:
            event = _event(line)
            if event is None:
                heard(line.rstrip("\n"))
                last.append(line.rstrip("\n"))
            elif event["event"] == SERVING:
                threading.Thread(target=_hear, args=(process, heard), daemon=True).start()
                return Served(event["url"], {**headers, **event["headers"]})
            else:
                raise BenchError(_failure(plan, event["reason"], last))
    finally:
        clock.cancel()
    raise BenchError(_failure(plan, "The local Modal ended.", last))


def _hear(process: subprocess.Popen[str], heard: Callable[[str], None]) -> None:
    """Go on reading, so that nothing it prints stops it."""
    assert process.stdout is not None  # noqa: S101 - asked for
    with suppress(ValueError, OSError):  # closed meanwhile
        for line in process.stdout:
            heard(line.rstrip("\n"))


def _event(line: str) -> dict[str, Any] | None:
    with suppress(ValueError, TypeError):
        found = json.loads(line)
        if found.get("event") in {SERVING, FAILED}:
            return dict(found)
    return None


def _failure(plan: ServicePlan, why: str, last: deque[str]) -> str:
    tail = "\n".join(f"  {line}" for line in last if line.strip())
    return f"{plan.name} was not served. {why}" + (f"\nThe last lines:\n{tail}" if tail else "")


def _end(process: subprocess.Popen[str]) -> None:
    """Let it see its containers off, or else end it."""
    assert process.stdin is not None  # noqa: S101 - asked for
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
