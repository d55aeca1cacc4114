"""Building an image: the seam, and the builder that needs nothing but this machine.

A builder that uses a container engine would be another class with the same `build`.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ...errors import LocalModalError
from ..protocol import api
from ..store.files import FileStore
from .built import Built
from .layers import finish, place_in, placed
from .logs import BuildLog
from .python_steps import PythonSteps
from .running import Runner
from .steps import AddFiles, CallFunction, Install, Lacking, Recipe, RunCommand, Step, WriteFile

__all__ = ["HostBuilder", "ImageBuilder", "Job"]

_FULL_BYTES = 50 * 1024 * 1024


@dataclass
class Job:
    """One image to build.

    Attributes:
        recipe: What it says; its steps are what is to be done.
        base: What is below it.
        folder: Where everything it makes goes; nobody looks there until it is whole.
        secrets: Variables for its commands; never written anywhere.
        installs_below: Packages that the images below asked for, first ones first.
        call: Runs its build function with changes kept in a folder, and raises if that fails.
        strict: Refuse parts that cannot be had.
    """

    recipe: Recipe
    base: Built
    folder: Path
    log: BuildLog
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    installs_below: tuple[Install, ...] = ()
    call: Callable[[Path], Awaitable[None]] | None = None
    strict: bool = False
    lacking: list[str] = field(default_factory=list)

    def lack(self, what: str) -> None:
        """Note a part that cannot be had, or refuse it."""
        if self.strict:
            msg = (
                f"The image needs {what}, which the local Modal cannot bring without a container "
                "engine. Leave out --strict-images to go on without."
            )
            raise LocalModalError(msg)
        self.lacking.append(what)
        self.log.say(f"Not on this machine: {what}")


class ImageBuilder(Protocol):
    """Makes images."""

    async def build(self, job: Job) -> Built:
        """Carry out a job's steps.

        Raises:
            LocalModalError: A step failed; its log says how.
        """


class HostBuilder:
    """Builds images from this machine's own files, Python and commands.

    Args:
        mount_files: Returns the files of a mount.
    """

    def __init__(
        self,
        files: FileStore,
        mount_files: Callable[[str], list[api.MountFile]],
        runner: Runner,
    ) -> None:
        self._files = files
        self._mount_files = mount_files
        self._runner = runner
        self._python = PythonSteps(runner)

    async def build(self, job: Job) -> Built:
        """Carry out a job's steps, in their order."""
        started = time.monotonic()
        changes = job.folder / "changes"
        built = job.base.above(job.folder.name)
        try:
            built = await self._python.switch(job, built)
            for step in job.recipe.steps:
                built = await self._carry_out(step, job, built, changes)
        except OSError as error:
            _explain_full_disk(job.folder, str(error))
            msg = f"The image could not be built: {error}"
            raise LocalModalError(msg) from error
        except LocalModalError as error:
            _explain_full_disk(job.folder, str(error))
            raise
        layer = job.folder / "files"
        mounted = [*map(str, built.visible), *self._runner.kept(), "/__modal"]
        if changes.exists() and await asyncio.to_thread(finish, changes, layer, mounted):
            built = replace(built, layers=(*built.layers, str(layer)))
        lacking = dict.fromkeys([*built.lacking, *job.lacking])
        took = time.monotonic() - started
        return replace(built, lacking=tuple(lacking), took_s=round(took, 3))

    async def _carry_out(self, step: Step, job: Job, built: Built, changes: Path) -> Built:
        match step:
            case AddFiles():
                files = self._mount_files(step.mount_id)
                await asyncio.to_thread(self._add, step, files, changes)
            case WriteFile():
                place_in(changes, step.path).write_bytes(step.data)
            case Install():
                return await self._python.install(step, job, built)
            case RunCommand():
                await self._run(step, job, built, changes)
            case CallFunction():
                await self._call(job, changes)
            case Lacking():
                missing = tuple(name for name in step.names if not _on_this_machine(name))
                if missing or not step.names:
                    job.lack(str(replace(step, names=missing)))
        return built

    def _add(self, step: AddFiles, files: list[api.MountFile], changes: Path) -> None:
        for path, entry in placed(files, step.source, step.destination):
            self._files.place(entry, place_in(changes, path))

    async def _run(self, step: RunCommand, job: Job, built: Built, changes: Path) -> None:
        if not self._runner.isolated:
            job.lack(f"the command {step.command!r} (it needs namespaces)")
            return
        job.log.say(f"RUN {step.command}")
        try:
            await self._runner.run_inside(
                step, built, changes=changes, secrets=job.secrets, log=job.log
            )
        except LocalModalError as error:
            if not (lacking := [*built.lacking, *job.lacking]):
                raise
            msg = f"{error} The image is built without what this machine does not have: {'; '.join(lacking)}."
            raise LocalModalError(msg) from error

    async def _call(self, job: Job, changes: Path) -> None:
        if job.call is None:
            msg = (
                "The build function of this image is not here any more. Run or deploy the app "
                "again, which sends it."
            )
            raise LocalModalError(msg)
        if not self._runner.isolated:
            job.lack("the files written by run_function (it needs namespaces)")
        await job.call(changes)


def _on_this_machine(package: str) -> bool:
    """Return whether a system package is here, or a command of its name."""
    name = package.partition("=")[0]
    lists = Path("/var/lib/dpkg/info")
    listed = (lists / f"{name}.list").exists() or any(lists.glob(f"{name}:*.list"))
    return listed or shutil.which(name) is not None


def _explain_full_disk(folder: Path, error: str) -> None:
    """Say so if a build failed because there is no room left."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < _FULL_BYTES or "No space left" in error:
            msg = (
                f"The disk that holds {str(folder.parent.parent)!r} is full "
                f"({free // 1024**2} MiB left). Free some space, or remove images nobody uses, and "
                "build again."
            )
            raise LocalModalError(msg)
