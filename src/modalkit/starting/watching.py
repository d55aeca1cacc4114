"""Cold starts for real, on a local Modal: started one after the other, read from what they log."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator

from ..declare.cold_start import ColdStartRecord
from ..errors import LocalModalError
from .events import ASKED, read_event

__all__ = ["started_locally"]

_LAST_LINES = 25
_END_S = 60.0
_COMMAND = ("-c", "from modalkit.cli import main; main()", "local", "--quiet")
_DRIVER = ("-m", "modalkit.starting.driver")


def started_locally(
    file: str, service: str, runs: int, within_s: float, heard: Callable[[str], None]
) -> Iterator[ColdStartRecord]:
    """Start a service's container on the local Modal and yield what each start took.

    Args:
        file: The file that declares it.
        service: Its class.
        runs: How often, each time in a fresh container.
        within_s: Seconds for one start, images included.
        heard: Told every line that comes out of it.

    Raises:
        LocalModalError: It did not start; the message has the last lines.
    """
    words = [*_COMMAND, sys.executable, *_DRIVER, file, service, str(runs)]
    process = subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        yield from _records(process, service, runs, within_s, heard)
    finally:
        _end(process)


def _records(
    process: subprocess.Popen[str],
    service: str,
    runs: int,
    within_s: float,
    heard: Callable[[str], None],
) -> Iterator[ColdStartRecord]:
    assert process.stdout is not None  # noqa: S101 - asked for
    assert process.stdin is not None  # noqa: S101 - asked for
    last: deque[str] = deque(maxlen=_LAST_LINES)
    asked, done = 0.0, 0
    clock = _clock(process, within_s)
    for line in process.stdout:
        if (event := read_event(line)) is not None:
            if event[0] != ASKED:
                raise LocalModalError(_failure(service, str(event[1]), last))
            asked = float(event[1])
            continue
        heard(line.rstrip("\n"))
        last.append(line.rstrip("\n"))
        record = ColdStartRecord.of_line(line)
        if record is None or record.service != service:
            continue
        clock.cancel()
        yield _with_container(record, asked)
        if (done := done + 1) == runs:
            return
        clock = _clock(process, within_s)
        process.stdin.write("\n")
        process.stdin.flush()
    clock.cancel()
    raise LocalModalError(_failure(service, "The local Modal ended.", last))


def _with_container(record: ColdStartRecord, asked: float) -> ColdStartRecord:
    """Add what passed before the container's process began, which only who asked can tell."""
    waited = round(record.began_at - asked, 3)
    if asked == 0 or waited <= 0 or "container" in record.phases:
        return record
    phases = {"container": waited, **record.phases}
    total_s = round(record.total_s + waited, 3)
    return record.model_copy(update={"phases": phases, "total_s": total_s})


def _failure(service: str, why: str, last: deque[str]) -> str:
    tail = "\n".join(f"  {line}" for line in last if line.strip())
    return f"{service} did not start. {why}" + (f"\nThe last lines:\n{tail}" if tail else "")


def _clock(process: subprocess.Popen[str], within_s: float) -> threading.Timer:
    """End everything when one start takes too long, so that reading its output ends."""
    clock = threading.Timer(within_s, process.send_signal, [signal.SIGTERM])
    clock.daemon = True
    clock.start()
    return clock


def _end(process: subprocess.Popen[str]) -> None:
    """Let it see its containers off, or else end it."""
    with contextlib.suppress(OSError):
        process.send_signal(signal.SIGTERM)
    assert process.stdin is not None  # noqa: S101 - asked for
    assert process.stdout is not None  # noqa: S101 - asked for
    with contextlib.suppress(OSError):
        process.stdin.close()
    reader = threading.Thread(target=process.stdout.read, daemon=True)
    reader.start()  # what it still has to say must not stop it
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    reader.join()
    process.stdout.close()
