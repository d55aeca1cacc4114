"""The steps of a build that concern Python: which interpreter, which packages."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import LocalModalError
from ..protocol import MODAL_VERSION
from .built import HOST_SERIES, Built, host_image
from .environments import Environment, find_interpreter, make_environment
from .gpu_stack import gpu_constraints, is_gpu_package, machine_has_gpu
from .installers import find_installer
from .requirements import Installed
from .running import Runner
from .steps import Install

if TYPE_CHECKING:
    from .builder import Job

__all__ = ["PythonSteps"]

_SHELL_VARIABLE = re.compile(r"\$(\w+)")
_LAST_LINES = 15
_HELD_BACK = re.compile(r"[\w-]+<0\b")


class PythonSteps:
    """Carries out what an image says about Python."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def switch(self, job: Job, built: Built) -> Built:
        """Change to the Python series an image asks for, if this machine has it."""
        wanted = job.recipe.python
        if not wanted or wanted == built.series or f"Python {wanted}" in _asked(built):
            return built
        if wanted == HOST_SERIES:
            return replace(host_image().above(built.key), lacking=built.lacking, base=built.base)
        candidates = [place] if (place := shutil.which(f"python{wanted}")) else []
        if uv := find_installer().uv:
            candidates += await _found_by_uv(uv, wanted)
        interpreter = await asyncio.to_thread(find_interpreter, wanted, candidates)
        if interpreter is not None:
            try:
                return await self._with_client(job, built, interpreter, wanted)
            except LocalModalError as error:
                job.log.say(str(error))
        job.lack(f"Python {wanted}")
        job.log.say(f"Using Python {HOST_SERIES} instead.")
        return built

    async def install(self, step: Install, job: Job, built: Built) -> Built:
        """Install what is not there already; return the image with it."""
        installed = Installed(built.search_path)
        lines, left_out = _without_gpu_stack(step, installed)
        if left_out and not built.host_below:
            return await self._return_to_host(step, job, built)
        for line in left_out:
            here = installed.version(re.split(r"[^\w.-]", line, maxsplit=1)[0])
            used = f"; using {here}" if here else ""
            job.lack(f"{line} (made for a GPU{used})")
        if not step.constraints and _is_met(lines, installed, step):
            reused = [line for line in lines if line.strip() and not line.startswith("-")]
            for line in reused:
                job.log.say(f"Already here: {line}")
            return replace(built, reused=(*built.reused, *reused))
        wanted = replace(step, requirements=tuple(lines))
        return await self._into_environment(wanted, job, built, installed)

    async def _with_client(self, job: Job, built: Built, interpreter: str, series: str) -> Built:
        """Begin on another interpreter, with Modal's client in its first environment."""
        job.log.say(f"Python {series}: {interpreter}")
        path = job.folder / "python"
        environment = await asyncio.to_thread(make_environment, path, interpreter)
        client = Install((f"modal=={MODAL_VERSION}",))
        try:
            await self._run_installer(client, job, environment, Installed([]))
        except LocalModalError:
            shutil.rmtree(path)
            raise
        return replace(
            built,
            python=str(environment.python),
            version=f"{series}.0",
            home=_home_of(interpreter),
            environments=(str(path),),
            host_below=False,
        )

    async def _return_to_host(self, step: Install, job: Job, built: Built) -> Built:
        """Use this machine's Python after all: what cannot be fetched may be there."""
        job.lack(f"Python {built.series} together with packages made for a GPU")
        job.log.say(f"Using Python {HOST_SERIES} and its packages instead.")
        kept = {"key": built.key, "layers": built.layers, "lacking": built.lacking}
        built = replace(host_image(), base=built.base, **kept)  # type: ignore[arg-type]  # the values have their fields' types
        for earlier in (*job.installs_below, step):
            built = await self.install(earlier, job, built)
        return built

    async def _into_environment(
        self, step: Install, job: Job, built: Built, installed: Installed
    ) -> Built:
        path = job.folder / "python"
        environment = Environment(path)
        if str(path) not in built.environments:
            environment = await asyncio.to_thread(make_environment, path, _base_of(built))
            environment.lay_over(built.search_path)
            built = replace(
                built,
                python=str(environment.python),
                environments=(str(path), *built.environments),
            )
        await self._install_fitting(step, job, environment, installed)
        await asyncio.to_thread(environment.add_scripts, Installed(built.search_path))
        return built

    async def _install_fitting(
        self, step: Install, job: Job, environment: Environment, installed: Installed
    ) -> None:
        """Install a step's requirements; leave out those that need packages made for a GPU."""
        try:
            await self._run_installer(step, job, environment, installed)
        except _NeedsGpuStackError:
            if len(step.requirements) == 1:
                job.lack(f"{step.requirements[0]} (it needs packages made for a GPU)")
                return
            for line in step.requirements:
                alone = replace(step, requirements=(line,))
                await self._install_fitting(alone, job, environment, installed)

    async def _run_installer(
        self, step: Install, job: Job, environment: Environment, installed: Installed
    ) -> None:
        installer = find_installer()
        requirements = job.folder / "requirements.txt"
        constraints = job.folder / "constraints.txt"
        lines = [_SHELL_VARIABLE.sub(r"${\1}", line) for line in step.requirements]
        requirements.write_text("\n".join(lines) + "\n", "utf-8")
        constraints.write_text("\n".join(_held(step, installed)) + "\n", "utf-8")
        command = installer.command(step, environment, requirements, constraints)
        env = {**installer.environment(dict(step.env)), **job.secrets}
        with environment.seeded(installed):
            code = await self._runner.run_here(command, env, job.log)
        if code:
            asked = ", ".join(step.requirements)
            tail = "\n".join(job.log.tail(_LAST_LINES))
            kind = _NeedsGpuStackError if _HELD_BACK.search(tail) else LocalModalError
            msg = f"Installing {asked} failed with exit code {code}. Its last lines:\n{tail}"
            raise kind(msg)


class _NeedsGpuStackError(LocalModalError):
    """The installer found no solution without packages that are held back."""


def _held(step: Install, installed: Installed) -> list[str]:
    """Return the constraints of a step: its lock's, and what keeps a GPU's packages away."""
    if machine_has_gpu():
        return list(step.constraints)
    own = [line for line in step.constraints if not is_gpu_package(line)]
    return [*own, *gpu_constraints(installed, step.requirements)]


def _without_gpu_stack(step: Install, installed: Installed) -> tuple[list[str], list[str]]:
    """Part a step's lines into those to install and those that this machine had better not fetch."""
    if machine_has_gpu():
        return list(step.requirements), []
    left_out = [
        line for line in step.requirements if is_gpu_package(line) and not installed.satisfies(line)
    ]
    return [line for line in step.requirements if line not in left_out], left_out


def _is_met(lines: list[str], installed: Installed, step: Install) -> bool:
    return "--force-reinstall" not in step.options and all(map(installed.satisfies, lines))


def _asked(built: Built) -> str:
    return ", ".join(built.lacking)


def _home_of(interpreter: str) -> str:
    return str(Path(interpreter).resolve().parent.parent)


def _base_of(built: Built) -> str:
    return sys.executable if built.host_below else built.python


async def _found_by_uv(uv: str, series: str) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        uv,
        "python",
        "find",
        "--no-project",
        series,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"},
    )
    said, _ = await process.communicate()
    return said.decode().split("\n")[:1] if process.returncode == 0 else []
