"""Sandboxes: containers in which clients run commands of their own."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from grpclib.const import Status

from ...errors import LocalModalError
from ..apps.apps import App
from ..containers.container import Container
from ..processes.launcher import LaunchedProcess
from ..protocol import api, refuse
from ..waiting import Latch
from .commands import Attendant, Command, Order, with_secrets
from .readiness import Readiness
from .reception import Reception

if TYPE_CHECKING:
    from ..containers.worlds import Worlds

__all__ = ["MAIN", "Sandbox", "first", "refuse_missing_image"]

MAIN = "main"
"""The id of a sandbox's own command."""

_LOOK_S = 0.5
_KILLED = 128 + signal.SIGKILL


@dataclass(eq=False)
class Sandbox:
    """One sandbox.

    Attributes:
        container: Its process and folder; its function is made from the sandbox's definition.
        worlds: What its container finds around it, and what can be done to that.
        reception: Leads whoever shows a connect token to its ports.
        variables: What every command in it finds in its environment.
        result: How it ended, or None while it runs.
        main: Its own command, if it has one; the sandbox ends with it.
        file_tools: The command that stands for Modal's file tools.
        tunnels: The ports of this machine that lead to ports in it.
        readiness: Whether its probe has succeeded, if it has one.
    """

    id: str
    app: App
    definition: api.Sandbox
    container: Container
    secret_values: Callable[[str], dict[str, str]]
    worlds: Worlds
    reception: Reception
    tags: dict[str, str] = field(default_factory=dict)
    created_at: float = field(default_factory=time.time)
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    workdir: str = "/root"
    file_tools: list[str] = field(default_factory=list)
    tunnels: list[api.TunnelData] = field(default_factory=list)
    readiness: Readiness = field(default_factory=Readiness)
    result: api.GenericResult | None = None
    main: Command | None = None
    attendant: Attendant | None = None
    ended: Latch = field(default_factory=Latch)
    _stopping: Latch = field(default_factory=Latch)
    _last_use: float = field(default_factory=time.monotonic)
    _copies: set[asyncio.Future[str]] = field(default_factory=set)

    @property
    def task_id(self) -> str:
        """What Modal calls its container."""
        return self.container.id

    def environment(self, secrets: Iterable[dict[str, str] | str]) -> dict[str, str]:
        """Return the sandbox's variables with those of secrets, by id or value; later ones win."""
        return with_secrets(self.variables, secrets, self.secret_values)

    async def run(self, identity: str, order: Order) -> Command:
        """Start a command, or refuse when the sandbox has ended."""
        if self.attendant is None or self.ended.is_set():
            refuse(Status.NOT_FOUND, f"The sandbox {self.id!r} has ended.")
        self._last_use = time.monotonic()
        return await self.attendant.start(identity, order)

    def find(self, identity: str) -> Command | None:
        """Return a command by the id its client gave it."""
        self._last_use = time.monotonic()
        return self.attendant.find(identity) if self.attendant is not None else None

    async def write_main(self, data: bytes, offset: int, *, last: bool) -> None:
        """Pass input to the sandbox's own command; refuse when there is none."""
        self._last_use = time.monotonic()
        if self.main is None:
            refuse(
                Status.FAILED_PRECONDITION, f"The sandbox {self.id!r} runs no command of its own."
            )
        await self.main.stdin.write(data, offset, last=last)

    async def snapshot(self) -> str:
        """Keep its files as an image, and return the image's id; a later end of it does no harm."""
        return await self._kept(lambda: self.worlds.snapshot(self.container))

    async def snapshot_folder(self, path: str) -> str:
        """Keep one of its folders as an image, and return the image's id."""
        return await self._kept(lambda: self.worlds.snapshot_folder(self.container, path))

    async def _kept(self, keep: Callable[[], Coroutine[Any, Any, str]]) -> str:
        self._refuse_if_ended()
        copy = asyncio.ensure_future(keep())
        self._copies.add(copy)
        copy.add_done_callback(self._copies.discard)
        with _refused():
            return await copy

    async def mount_image(self, path: str, image_id: str) -> None:
        """Show an image's own files at a path, or refuse."""
        self._refuse_if_ended()
        refuse_missing_image(self.worlds, image_id)
        with _refused():
            await self.worlds.mount_image(self.container, path, image_id)

    async def unmount_image(self, path: str) -> None:
        """Show what was at a path before an image was mounted there, or refuse."""
        self._refuse_if_ended()
        with _refused():
            await self.worlds.unmount_image(self.container, path)

    async def copied(self) -> None:
        """Wait until the snapshots that were begun have what they need of its files."""
        while self._copies:
            await asyncio.wait(self._copies)

    def _refuse_if_ended(self) -> None:
        if self.ended.is_set():
            refuse(Status.NOT_FOUND, f"The sandbox {self.id!r} has ended.")

    async def reload_volumes(self) -> None:
        """Show its commands what others committed to its volumes."""
        self._refuse_if_ended()
        for mount in self.definition.volume_mounts:
            await self.worlds.volumes.reload(self.container, mount.volume_id)

    async def ready_at(self) -> float:
        """Wait for its probe and return when it succeeded; refuse if it has none, or has ended."""
        if not self.definition.HasField("readiness_probe"):
            refuse(
                Status.FAILED_PRECONDITION,
                f"The sandbox {self.id!r} has no readiness probe. Create it with "
                "readiness_probe=modal.Probe.with_tcp(port) or with_exec(command).",
            )
        await first(self.readiness.reached(), self.ended.wait())
        if self.readiness.at is None:
            refuse(
                Status.FAILED_PRECONDITION, f"The sandbox {self.id!r} ended before it was ready."
            )
        return self.readiness.at

    def terminate(self) -> None:
        """End it."""
        self._stopping.set()

    def end(self) -> None:
        """It has ended: what it ran in goes, what its commands printed stays."""
        self.container.process = None
        self.ended.set()

    async def outcome(self, process: LaunchedProcess) -> api.GenericResult:
        """Wait until it is over for whatever reason, and say which."""
        deadline = time.monotonic() + (self.definition.timeout_secs or float("inf"))
        events = [self._stopping.wait(), process.wait()]
        events += [self.main.ended.wait()] if self.main is not None else []
        waiting = [asyncio.ensure_future(event) for event in events]
        try:
            while (result := self._verdict(process, deadline)) is None:
                await asyncio.wait(waiting, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for event in waiting:
                event.cancel()
        return result

    def _verdict(self, process: LaunchedProcess, deadline: float) -> api.GenericResult | None:
        if self.main is not None and self.main.ended.is_set() and process.returncode is None:
            code = self.main.code if self.main.signal is None else 128 + self.main.signal
            return finished(code or 0)
        if self._stopping.is_set() or self.app.over:
            return api.GenericResult(status=api.GenericResult.GENERIC_STATUS_TERMINATED)
        if process.returncode is not None:
            return finished(_KILLED, "The sandbox's process was killed.")
        if time.monotonic() > deadline:
            return api.GenericResult(status=api.GenericResult.GENERIC_STATUS_TIMEOUT)
        if self._idle:
            return api.GenericResult(status=api.GenericResult.GENERIC_STATUS_IDLE_TIMEOUT)
        return None

    @property
    def _idle(self) -> bool:
        """Whether nobody has used it for longer than it may be idle; its own command is no use."""
        limit = self.definition.idle_timeout_secs
        own = self.main is not None and not self.main.ended.is_set()
        if not limit or self.container.connections:
            return False
        if self.attendant is not None and self.attendant.running > own:
            self._last_use = time.monotonic()
        return time.monotonic() - self._last_use > limit


def refuse_missing_image(worlds: Worlds, image_id: str) -> None:
    """Refuse an image that is not there; no id stands for none."""
    if image_id and not worlds.images.known(image_id):
        refuse(
            Status.NOT_FOUND,
            f"The image {image_id!r} is not here any more. If it was a snapshot, take it again with "
            "snapshot_filesystem() or snapshot_directory().",
        )


@contextmanager
def _refused() -> Iterator[None]:
    """What cannot be done here is what its client hears."""
    try:
        yield
    except LocalModalError as error:
        refuse(Status.FAILED_PRECONDITION, str(error))


def finished(code: int, reason: str = "") -> api.GenericResult:
    """Return the result of a sandbox whose command ended with a code."""
    statuses = api.GenericResult
    status = statuses.GENERIC_STATUS_FAILURE if code else statuses.GENERIC_STATUS_SUCCESS
    return api.GenericResult(status=status, exitcode=code, exception=reason)


async def first(*events: Coroutine[Any, Any, object]) -> None:
    """Wait for the first of some events."""
    waiting = [asyncio.ensure_future(event) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for event in waiting:
            event.cancel()
