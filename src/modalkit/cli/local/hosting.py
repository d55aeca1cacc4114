"""Running a plane in this process: for one command, or until it is told to end."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from typing import TYPE_CHECKING

import click

from ...errors import MissingExtraError
from ...local import Address
from .options import Options

if TYPE_CHECKING:
    from ...local import LocalModal

__all__ = ["LOG_NAME", "STOP_SIGNALS", "Journal", "make_plane", "stop_requests"]

LOG_NAME = "plane.log"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Journal:
    """Passes on what the plane says: to this terminal, and to a file for `modalkit local logs`."""

    def __init__(self, options: Options) -> None:
        self._quiet = options.quiet
        path = options.state / LOG_NAME
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        self._file = path.open("a", encoding="utf-8", buffering=1)
        log = logging.getLogger("modalkit.local")
        log.setLevel(logging.DEBUG if options.verbose else logging.ERROR)
        for stream in (sys.stderr, self._file):
            handler = logging.StreamHandler(stream)
            mark = "" if stream is self._file else "local modal | "
            handler.setFormatter(logging.Formatter(f"{mark}%(message)s"))
            log.addHandler(handler)

    def say(self, text: str) -> None:
        """Tell the user something."""
        self._file.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        if not self._quiet:
            click.echo(click.style(f"local modal | {text}", dim=True), err=True)


def make_plane(address: Address, options: Options, journal: Journal) -> LocalModal:
    """Load the local Modal, which takes a few tenths of a second, and put it together."""
    try:
        from ...local import plane  # noqa: PLC0415 - loads gRPC and an HTTP server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("modalkit"):
            raise
        feature = "The local Modal"
        raise MissingExtraError(feature, "local") from error
    return plane.LocalModal(address, journal.say, options.settings)


def stop_requests() -> asyncio.Event:
    """Return an event that SIGINT, SIGTERM or SIGHUP sets."""
    stopped = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped
