"""``modalkit local up``: keep a local Modal running."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import click

from ...errors import LocalModalError, ModalkitError
from ...local import Address
from ...local.presence import Claim, Running, claim, running
from ...local.store.places import File
from .hosting import Journal, make_plane, stop_requests
from .options import Options, plane_options

__all__ = ["command"]

_START_PATIENCE_S = 120.0
_PAUSE_S = 0.05
_SHOWN_LINES = 10


@click.command("up")
@plane_options
@click.option(
    "-d", "--detach", is_flag=True, help="Run in the background; return when it is ready."
)
@click.option(
    "--parent", type=int, hidden=True, help="End when this process is no longer the parent."
)
def command(options: Options, detach: bool, parent: int | None) -> None:
    """Keep a local Modal running until Ctrl-C and print the variables that point a shell at it."""
    try:
        if detach:
            _start_in_background(options)
        else:
            _run_here(options, parent)
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error


def _run_here(options: Options, parent: int | None) -> None:
    taken = claim(options.state)
    if taken is None:
        raise LocalModalError(_already_up(options.state))
    try:
        asyncio.run(_serve(options, taken, parent))
    finally:
        taken.release()


async def _serve(options: Options, taken: Claim, parent: int | None) -> None:
    """Serve until a signal comes."""
    stopped = stop_requests()
    address = Address.of(options.state)
    plane = make_plane(address, options, Journal(options))
    await plane.start()
    watch = asyncio.create_task(_watch_parent(parent, stopped))
    try:
        await plane.restore()
        taken.publish(address, "up", ready=True)
        for name, value in address.exports().items():
            click.echo(f"export {name}={value}")
        sys.stdout.flush()
        for name, url in plane.endpoints():
            plane.say(f"{name} answers at {url}")
        if not options.quiet and (found := running(options.state)) is not None:
            click.echo(click.style(f"local modal | dashboard: {found.link}", dim=True), err=True)
        plane.say("running; paste the lines above into a shell to use it. Ctrl-C to stop")
        await stopped.wait()
    finally:
        watch.cancel()
        await plane.stop()


async def _watch_parent(parent: int | None, stopped: asyncio.Event) -> None:
    """Ask for the end when the process that wanted this plane is gone."""
    while parent is not None:
        if os.getppid() != parent:
            stopped.set()
            return
        await asyncio.sleep(1.0)


def _start_in_background(options: Options) -> None:
    """Start this command again without a terminal and wait until it is ready."""
    if (found := running(options.state)) is not None:
        click.echo(_already_up(options.state))
        click.echo(f"dashboard: {found.link}")
        return
    options.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    errors_file = File.ERRORS.of(options.state)
    errors_file.unlink(missing_ok=True)
    errors_file.touch(mode=0o600)
    with errors_file.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            _own_command(options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd="/",
            start_new_session=True,
        )
    plane = _when_ready(process, options.state)
    if not options.quiet:
        click.echo(f"A local Modal is up for {str(options.state)!r} (process {plane.pid}).")
        click.echo(f"dashboard: {plane.link}")
        click.echo('point a shell at it: eval "$(modalkit local env)"')
        click.echo(f"its log: {File.LOG.of(options.state)}; end it: modalkit local down")


def _own_command(options: Options) -> list[str]:
    code = "from modalkit.cli import main; main()"
    words = [sys.executable, "-c", code, "local", "--state", str(options.state), "--quiet", "up"]
    chosen = {
        "--no-namespaces": not options.settings.namespaces,
        "--strict-gpu": options.settings.strict_gpu,
        "--strict-images": options.settings.strict_images,
        "--verbose": options.verbose,
    }
    return [*words, *(name for name, wanted in chosen.items() if wanted)]


def _when_ready(process: subprocess.Popen[bytes], state: Path) -> Running:
    deadline = time.monotonic() + _START_PATIENCE_S
    while time.monotonic() < deadline:
        found = running(state)
        if found is not None and found.ready and found.pid == process.pid:
            return found
        if process.poll() is not None:
            break
        time.sleep(_PAUSE_S)
    lines = File.ERRORS.of(state).read_text("utf-8", errors="replace").splitlines()
    process.kill()
    tail = "\n".join(lines[-_SHOWN_LINES:]).removeprefix("Error: ")
    msg = f"The local Modal did not start: {tail or 'it printed nothing.'}"
    raise LocalModalError(msg)


def _already_up(state: Path) -> str:
    found = running(state)
    who = "is starting" if found is None else f"is up (process {found.pid})"
    return (
        f"A local Modal {who} for the state folder {str(state)!r}. Commands after "
        "`modalkit local` use it; `modalkit local down` ends it; --state DIR names another folder."
    )
