"""Run the commands of a build: on this machine, or inside the image's world."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

from ...errors import LocalModalError
from ..processes.isolation import Isolation, launcher_command
from ..processes.launch import Bind, ContainerSpec
from ..protocol import api
from .built import Built
from .logs import BuildLog
from .steps import RunCommand

__all__ = ["Mounting", "Runner", "container_path"]

Mounting: TypeAlias = Callable[[Sequence[api.VolumeMount]], AbstractAsyncContextManager[list[Bind]]]

_LONGEST_LINE = 1024 * 1024


def container_path(built: Built, inherited: str) -> str:
    """Return PATH with an image's environments first, then its Python: ``python`` is always there."""
    own = [*(f"{path}/bin" for path in built.environments), str(Path(built.interpreter).parent)]
    return ":".join([*dict.fromkeys(own), inherited])


class Runner:
    """Runs commands that end with the plane, whatever happens to it.

    Args:
        scratch: A folder for what a running command needs.
        isolation: What this machine allows.
        environment: Variables every container inherits from this machine.
        mounting: Holds volumes while a command runs; what it changed is committed if it succeeds.
    """

    def __init__(
        self,
        scratch: Path,
        isolation: Isolation,
        environment: Mapping[str, str],
        mounting: Mounting,
    ) -> None:
        self._scratch = scratch
        self._isolation = isolation
        self._environment = environment
        self._mounting = mounting

    @property
    def isolated(self) -> bool:
        """Whether commands can run in a world of their own."""
        return self._isolation.namespaces

    def kept(self) -> list[str]:
        """Return the folders of this machine that every container sees at their own paths."""
        empty = Path("/")
        spec = self._isolation.spec(empty, empty, [], {}, binds=[], own_network=False)
        return spec["keep"]

    async def run_here(self, argv: Sequence[str], env: Mapping[str, str], log: BuildLog) -> int:
        """Run a command as an ordinary process; return its exit code."""
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="build-") as folder:
            plain = Isolation(namespaces=False)
            path = Path(folder)
            spec = plain.spec(path, path, list(argv), dict(env), binds=[], own_network=False)
            spec["cwd"] = folder
            return await _run(spec, path, log)

    async def run_inside(
        self,
        step: RunCommand,
        built: Built,
        *,
        changes: Path,
        secrets: Mapping[str, str],
        log: BuildLog,
    ) -> None:
        """Run a command in an image's world, keeping what it changes.

        Raises:
            LocalModalError: It failed.
        """
        env = self._variables(step, built, secrets)
        async with contextlib.AsyncExitStack() as stack:
            binds = await stack.enter_async_context(self._mounting(step.volumes))
            folder = tempfile.TemporaryDirectory(dir=self._scratch, prefix="build-")
            path = Path(stack.enter_context(folder))
            for name in ("layer", "scratch"):
                (path / name).mkdir()
            argv = [*step.shell, step.command]
            spec = self._isolation.spec(
                path,
                path / "layer",
                argv,
                env,
                binds=binds,
                own_network=False,
                lowers=map(Path, built.layers),
                changes=changes,
                keep=built.visible,
            )
            spec["cwd"] = step.workdir
            if code := await _run(spec, path, log):
                msg = f"The command {step.command!r} ended with exit code {code}."
                raise LocalModalError(msg)

    def _variables(
        self, step: RunCommand, built: Built, secrets: Mapping[str, str]
    ) -> dict[str, str]:
        """Return what a command finds in its environment; the image's Python comes first."""
        inherited = self._environment.get("PATH", os.defpath)
        env = {
            **self._environment,
            "HOME": "/root",
            **{name: value.replace("$PATH", inherited) for name, value in step.env},
            **secrets,
        }
        env["PATH"] = container_path(built, env.get("PATH", inherited))
        if built.environments:
            env["VIRTUAL_ENV"] = built.environments[0]
        return env


async def _run(spec: ContainerSpec, folder: Path, log: BuildLog) -> int:
    path = folder / "spec.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(spec))
    process = await asyncio.create_subprocess_exec(
        *launcher_command(path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        limit=_LONGEST_LINE,
    )
    try:
        if process.stdout is not None:
            async for line in process.stdout:
                log.say(line.decode(errors="replace").rstrip("\n"))
        return await process.wait()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL if spec["namespaces"] else signal.SIGTERM)
            await process.wait()
