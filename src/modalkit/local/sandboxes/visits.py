"""Commands in the containers of functions: `modal container exec`."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from grpclib.const import Status

from ..containers.container import Container
from ..processes.isolation import Isolation
from ..protocol import refuse
from .commands import Attendant, Command, Order, with_secrets

__all__ = ["Visit", "Visits"]

_START_PATIENCE_S = 60.0


@dataclass(eq=False)
class Visit:
    """Commands of clients in one function's container, started by an attendant of its own.

    Attributes:
        main: A function's container has no command of a client's as its own.
        workdir: Where commands start: where the function does.
    """

    container: Container
    attendant: Attendant
    variables: dict[str, str] = field(repr=False)
    workdir: str
    file_tools: list[str]
    secret_values: Callable[[str], dict[str, str]]
    main: None = None

    @property
    def id(self) -> str:
        """The container's id."""
        return self.container.id

    def environment(self, secrets: Iterable[dict[str, str] | str]) -> dict[str, str]:
        """Return the function's variables with those of secrets, by id or value; later ones win."""
        return with_secrets(self.variables, secrets, self.secret_values)

    async def run(self, identity: str, order: Order) -> Command:
        """Start a command, or refuse when the container has ended."""
        if self.container.gone.is_set():
            _refuse_ended(self.container)
        return await self.attendant.start(identity, order)

    def find(self, identity: str) -> Command | None:
        """Return a command by the id its client gave it."""
        return self.attendant.find(identity)

    async def reload_volumes(self) -> None:
        """Refuse: a function reloads its volumes itself."""
        refuse(Status.FAILED_PRECONDITION, f"The container {self.id!r} is no sandbox.")

    async def snapshot(self) -> str:
        """Refuse: a function's container keeps nothing that it writes."""
        refuse(Status.FAILED_PRECONDITION, f"The container {self.id!r} is no sandbox.")

    async def snapshot_folder(self, _path: str) -> str:
        """Refuse, as above."""
        return await self.snapshot()

    async def mount_image(self, _path: str, _image_id: str) -> None:
        """Refuse: a function has the image it declares."""
        refuse(Status.FAILED_PRECONDITION, f"The container {self.id!r} is no sandbox.")

    async def unmount_image(self, _path: str) -> None:
        """Refuse, as above."""
        refuse(Status.FAILED_PRECONDITION, f"The container {self.id!r} is no sandbox.")

    async def ready_at(self) -> float:
        """Refuse: only sandboxes are probed."""
        refuse(Status.FAILED_PRECONDITION, f"The container {self.id!r} is no sandbox.")

    async def write_main(self, _data: bytes, _offset: int, *, last: bool) -> None:
        """Refuse input: there is no command of its own."""
        del last
        refuse(Status.FAILED_PRECONDITION, f"The container {self.id!r} is no sandbox.")


@dataclass
class Visits:
    """The containers of functions in which clients run commands; each as long as it lives."""

    isolation: Isolation
    secret_values: Callable[[str], dict[str, str]]
    _visits: dict[str, Visit] = field(default_factory=dict)
    _listening: set[asyncio.Task[None]] = field(default_factory=set)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def to(self, container: Container) -> Visit:
        """Return what runs commands in a container; the first time it is started there."""
        async with self._turn:
            if container.id not in self._visits:
                self._visits[container.id] = await self._begin(container)
        return self._visits[container.id]

    async def _begin(self, container: Container) -> Visit:
        process = container.process
        if process is None or process.returncode is not None:
            _refuse_ended(container)
        spec = json.loads((container.folder / "spec.json").read_text("utf-8"))
        output = container.folder / "output"
        output.mkdir(exist_ok=True)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            process.visit(theirs)
        attendant = Attendant(ours, output)
        listening = asyncio.create_task(self._listen(container, attendant))
        self._listening.add(listening)
        listening.add_done_callback(self._listening.discard)
        ready = asyncio.create_task(attendant.ready.wait())
        await asyncio.wait(
            {ready, listening}, timeout=_START_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
        )
        if not ready.done():
            ready.cancel()
            _refuse_ended(container)
        env = dict(spec["env"])
        env["PATH"] = os.pathsep.join(
            [str(Path(spec["argv"][0]).parent), env.get("PATH", os.defpath)]
        )
        tools = self.isolation.tool("file_tools.py")
        return Visit(container, attendant, env, spec["cwd"], tools, self.secret_values)

    async def _listen(self, container: Container, attendant: Attendant) -> None:
        """Take what an attendant says until its container ends."""
        try:
            await attendant.listen()
        finally:
            self._visits.pop(container.id, None)


def _refuse_ended(container: Container) -> NoReturn:
    refuse(
        Status.FAILED_PRECONDITION,
        f"No command can be run in the container {container.id!r}: it has not started, or it has "
        "ended.",
    )
