"""What passes between a container's start and its first request, timed."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ..declare.cold_start import ColdStart, ColdStartRecord

__all__ = ["Phases", "created_at", "process_age_s"]

_PLAUSIBLE_S = 3600.0
_SEEN_S = 0.0005
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID = re.compile(rf"ta-([{_CROCKFORD}]{{10}})[{_CROCKFORD}]{{16}}", re.ASCII)


class Phases:
    """The phases of one container's start.

    Made when modalkit's own code in the container begins: what came before is ``container`` and
    ``imports``.

    Args:
        marks: Lines of an engine's output that tell seconds of a phase: a regular expression for
            each, whose first group is the number. They are taken out of the phase ``engine``.
    """

    def __init__(self, marks: Mapping[str, str] | None = None) -> None:
        self._marks = {phase: re.compile(mark) for phase, mark in (marks or {}).items()}
        self._told: dict[str, dict[str, float]] = {}
        age = process_age_s()
        self._began_at = time.time() - age
        self._container = _container()
        self.seconds: dict[str, float] = {}
        created = created_at(self._container)
        if created is not None and 0 <= self._began_at - created < _PLAUSIBLE_S:
            self.add("container", self._began_at - created)
        self.add("imports", age)
        self._paused_at = 0.0
        self.restored = False

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Add the time of a block to a phase."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.add(phase, time.monotonic() - started)

    def add(self, phase: str, seconds: float) -> None:
        """Add seconds to a phase."""
        _add(self.seconds, phase, seconds)

    def hear(self, line: str) -> None:
        """Take a line of the engine's output, which may tell what a part of its start took.

        The processes of one engine say the same thing side by side: the longest counts. Different
        things of one phase follow one another: they are added.
        """
        for phase, mark in self._marks.items():
            if found := mark.search(line):
                what = found[0].replace(found[1], "")
                told = self._told.setdefault(phase, {})
                told[what] = max(told.get(what, 0.0), float(found[1]))

    def pause(self) -> None:
        """Everything is done that a memory snapshot may hold."""
        self._paused_at = time.time()

    def resume(self) -> None:
        """Go on, in the same container or in one that was restored from the snapshot."""
        container, now = _container(), time.time()
        if container == self._container:
            self.add("snapshot", now - self._paused_at)
            return
        self.restored, self._container, self._told = True, container, {}
        created = created_at(container)
        known = created is not None and 0 <= now - created < _PLAUSIBLE_S
        self.seconds = {"restore": now - created} if known and created is not None else {}
        self._began_at = created if known and created is not None else now

    def record(self, service: str, declared: ColdStart) -> ColdStartRecord:
        """Return what the start took."""
        phases = self._divided()
        return ColdStartRecord(
            service=service,
            phases={phase: round(taken, 3) for phase, taken in phases.items() if taken >= _SEEN_S},
            total_s=round(sum(phases.values()), 3),
            budget_s=declared.budget_s,
            snapshot=declared.snapshot,
            restored=self.restored,
            began_at=round(self._began_at, 3),
            container=self._container,
        )

    def log(self, service: str, declared: ColdStart) -> None:
        """Write the record as one line to stderr."""
        sys.stderr.write(f"{self.record(service, declared).line()}\n")
        sys.stderr.flush()

    def _divided(self) -> dict[str, float]:
        """The phases as they passed, those that the engine told of taken out of its own."""
        told = {phase: sum(parts.values()) for phase, parts in self._told.items()}
        phases: dict[str, float] = {}
        for phase, taken in self.seconds.items():
            if phase == "engine":
                share = min(1.0, taken / max(sum(told.values()), _SEEN_S))
                inside = {part: seconds * share for part, seconds in told.items()}
                _add(phases, "weights", inside.pop("weights", 0.0))
                _add(phases, "engine", taken - share * sum(told.values()))
                for part, seconds in inside.items():
                    _add(phases, part, seconds)
            else:
                _add(phases, phase, taken)
        return phases


def _add(phases: dict[str, float], phase: str, seconds: float) -> None:
    phases[phase] = phases.get(phase, 0.0) + seconds


def process_age_s() -> float:
    """Return how long ago this process began, in seconds; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - began
        if 0 <= age < _PLAUSIBLE_S:
            return age
    return 0.0


def created_at(container: str) -> float | None:
    """Return when Modal made a container, which the ids it gives them tell; None of another id.

    Examples:
        >>> created_at("ta-01ARZ3NDEKTSV4RRFFQ69G5FAV")
        1469922850.259
        >>> created_at("ta-abc") is None
        True
    """
    found = _ULID.fullmatch(container)
    if found is None:
        return None
    milliseconds = 0
    for digit in found[1]:
        milliseconds = milliseconds * 32 + _CROCKFORD.index(digit)
    return milliseconds / 1000


def _container() -> str:
    return os.environ.get("MODAL_TASK_ID", "")
