"""A local Modal in a process of its own, and the variables that point this process at it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import LocalModalError
from ..local.address import pointed_at, without_account
from ..local.presence import Running, running
from ..local.store.places import File

__all__ = ["PlaneProcess", "surrounding"]

_START_WITHIN_S = 120.0
_STOP_WITHIN_S = 60.0
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class PlaneProcess:
    """A local Modal that runs in another process.

    Attributes:
        exports: The variables that point a Modal client at it.
        dashboard: Its page, with the token a browser needs.
        process: The process, if it was started here.
    """

    exports: Mapping[str, str]
    dashboard: str
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, state: Path, *, namespaces: bool) -> PlaneProcess:
        """Start a local Modal with this state folder and wait until it answers.

        It ends with this process, however this process ends.

        Raises:
            LocalModalError: It did not start; the message is what it said.
        """
        code = "from modalkit.cli import main; main()"
        words = [sys.executable, "-c", code, "local", "--state", str(state), "--quiet"]
        words += [] if namespaces else ["--no-namespaces"]
        with File.ERRORS.of(state).open("wb") as errors:
            process = subprocess.Popen(
                [*words, "up", "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=without_account(os.environ),
                start_new_session=True,  # a Ctrl-C at pytest is for pytest
            )
        found = _when_ready(process, state)
        return cls(found.exports, found.link, process)

    def stop(self) -> None:
        """End it."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @contextmanager
    def as_environment(self) -> Iterator[None]:
        """Point this process's Modal clients at it for the time of a block."""
        before = dict(os.environ)
        wanted = pointed_at(self.exports, before)
        _become(wanted)
        try:
            yield
        finally:
            changed = {
                name: value for name, value in os.environ.items() if wanted.get(name) != value
            }
            _become({**before, **changed})


def surrounding() -> PlaneProcess | None:
    """Return the local Modal around this process (`modalkit local pytest`), if there is one."""
    state, url = os.environ.get("MODALKIT_LOCAL_STATE"), os.environ.get("MODAL_SERVER_URL")
    found = running(Path(state)) if state else None
    if found is None or found.exports["MODAL_SERVER_URL"] != url:
        return None
    return PlaneProcess(found.exports, found.link)


def _become(variables: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)


def _when_ready(process: subprocess.Popen[bytes], state: Path) -> Running:
    deadline = time.monotonic() + _START_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        found = running(state)
        if found is not None and found.ready:
            return found
        time.sleep(_PAUSE_S)
    process.kill()
    process.wait()
    said = File.ERRORS.of(state).read_text("utf-8", errors="replace").strip()
    msg = f"The local Modal of this test session did not start: {said or 'it said nothing.'}"
    raise LocalModalError(msg)
