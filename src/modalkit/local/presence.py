"""Which plane serves a state folder: one at most, and how other commands find it.

    STATE/plane.lock     held by the process that runs the plane, for as long as it lives
    STATE/guests.lock    held, shared, by every command that joined it
    STATE/plane.json     where it answers and what to show there; readable by its owner only

The system lets go of a lock when its process ends, however it ends, so no lock is ever stale and
what a killed plane left behind is never taken for a running one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import LocalModalError
from .store.places import File

if TYPE_CHECKING:
    from .address import Address

__all__ = ["Claim", "Running", "claim", "claim_or_join", "running", "wait_until_gone"]

_JOIN_PATIENCE_S = 60.0
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Running:
    """A plane that is up, as its state folder tells of it.

    Attributes:
        exports: The variables that point a Modal client at it.
        page: The dashboard's address, without its token.
        page_token: What the dashboard and its routes want to see.
        kind: ``up`` stays until it is told to end; ``command`` ends with its command.
        ready: It has brought back what was deployed.
        started_at: Seconds since the epoch.
    """

    pid: int
    exports: dict[str, str]
    page: str
    page_token: str
    kind: Literal["up", "command"]
    ready: bool
    started_at: float

    @property
    def link(self) -> str:
        """The dashboard's address for a browser that has not been there before."""
        return f"{self.page}/?token={self.page_token}"


class Claim:
    """The right to run the plane of a state folder; it lasts until `release` or the process ends."""

    def __init__(self, state: Path, lock: int) -> None:
        self._state = state
        self._lock = lock
        self._guests: int | None = None
        self._started_at = time.time()

    def publish(self, address: Address, kind: Literal["up", "command"], *, ready: bool) -> None:
        """Tell other commands where the plane answers."""
        card = Running(
            pid=os.getpid(),
            exports=address.exports(),
            page=address.page,
            page_token=address.page_token,
            kind=kind,
            ready=ready,
            started_at=self._started_at,
        )
        draft = File.PLANE_DRAFT.of(self._state)
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(card)))
        draft.replace(File.PLANE.of(self._state))

    def close_door(self) -> bool:
        """Let no further command join; false while commands that joined are still running."""
        if self._guests is None:
            self._guests = _locked(File.GUESTS_LOCK.of(self._state), fcntl.LOCK_EX)
        return self._guests is not None

    async def until_alone(self) -> None:
        """Wait until every command that joined has ended; no other can join then."""
        while not self.close_door():  # noqa: ASYNC110 - a lock of another process tells nobody
            await asyncio.sleep(0.1)

    def release(self) -> None:
        """Say that no plane runs any more."""
        File.PLANE.of(self._state).unlink(missing_ok=True)
        for held in (self._guests, self._lock):
            if held is not None:
                os.close(held)


def claim(state: Path) -> Claim | None:
    """Take the right to run a folder's plane; none while another process has it.

    Raises:
        LocalModalError: The folder cannot be made or written.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _locked(File.PLANE_LOCK.of(state), fcntl.LOCK_EX)
    except OSError as error:
        msg = (
            f"The state folder {str(state)!r} cannot be used ({error.strerror}). "
            "Name another folder with --state DIR."
        )
        raise LocalModalError(msg) from error
    if lock is None:
        return None
    File.PLANE.of(state).unlink(missing_ok=True)  # a killed plane's
    return Claim(state, lock)


@contextmanager
def claim_or_join(state: Path) -> Iterator[Claim | Running]:
    """Take the right to run a folder's plane, or join the plane that runs there.

    What was joined goes on at least until the block ends; a claim is released then.

    Raises:
        LocalModalError: Another process has the folder and does not say where it answers.
    """
    deadline = time.monotonic() + _JOIN_PATIENCE_S
    while True:
        taken = claim(state)
        if taken is not None:
            try:
                yield taken
            finally:
                taken.release()
            return
        guest = _locked(File.GUESTS_LOCK.of(state), fcntl.LOCK_SH)
        try:
            if guest is not None and (found := running(state)) is not None:
                yield found
                return
        finally:
            if guest is not None:
                os.close(guest)
        if time.monotonic() > deadline:
            msg = (
                f"A local Modal has the state folder {str(state)!r} but does not answer. "
                "Wait for it to end, or name another folder with --state DIR."
            )
            raise LocalModalError(msg)
        time.sleep(_PAUSE_S)  # it is starting, or ending


def running(state: Path) -> Running | None:
    """Return the plane that runs in a state folder, if one does and says where."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        card = json.loads(File.PLANE.of(state).read_text())
        if _held(File.PLANE_LOCK.of(state)):
            return Running(**card)
    return None


def wait_until_gone(state: Path, within_s: float) -> bool:
    """Wait until no process runs the folder's plane; false when one still does."""
    deadline = time.monotonic() + within_s
    while _held(File.PLANE_LOCK.of(state)):
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_S)
    return True


def _held(path: Path) -> bool:
    """Return whether a process holds a lock for itself alone."""
    if not path.exists():
        return False
    probe = _locked(path, fcntl.LOCK_SH)
    if probe is None:
        return True
    os.close(probe)
    return False


def _locked(path: Path, how: int) -> int | None:
    """Lock a file and return its descriptor, or none when another process is in the way."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
