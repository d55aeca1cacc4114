"""Running a plane in this process: for one command, or until it is told to end."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ...errors import MissingExtraError
from ...local import Address
from ...local.store.places import File
from .options import Options

if TYPE_CHECKING:
    from ...local import LocalModal

__all__ = ["STOP_SIGNALS", "Journal", "make_plane", "stop_requests"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Journal:
    """Passes on what the plane says: to this terminal, and to a file for `modalkit local logs`.

    Attributes:
        followers: Shows a line in the output of commands that follow an app, and says whether there
            are any. Set while a command draws on this terminal: a line of ours would go through
            its progress display.
    """

    def __init__(self, options: Options) -> None:
        self.followers: Callable[[str], bool] | None = None
        self._held: list[str] = []
        self._quiet = options.quiet
        path = File.LOG.of(options.state)
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
        if self._quiet:
            return
        if self.followers is None:
            _print(text)
        elif not self.followers(f"local modal | {text}"):
            self._held.append(text)

    def terminal_is_free(self) -> None:
        """The command that drew on the terminal has ended: print what was held back."""
        self.followers = None
        for text in self._held:
            _print(text)
        self._held.clear()


def _print(text: str) -> None:
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
