"""``modalkit local COMMAND...``: run a command against a local Modal."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

import click

from ...errors import ModalkitError
from ...local import Address, Settings
from ...local.presence import Claim, Running, claim_or_join
from .hosting import Journal, make_plane, stop_requests
from .options import Options, with_options
from .program import end_program, start_program, wait_for

if TYPE_CHECKING:
    from ...local import LocalModal

__all__ = ["command"]

_DETACHED_LOOK_S = 0.5


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
@with_options
def command(options: Options, words: tuple[str, ...]) -> None:
    """Run a program against a local Modal: one that is up, or one started for it."""
    try:
        with claim_or_join(options.state) as place:
            if isinstance(place, Running):
                code = asyncio.run(_joined(list(words), options, place))
            else:
                code = asyncio.run(_hosted(list(words), options, place))
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(code)


async def _joined(words: list[str], options: Options, plane: Running) -> int:
    """Run a command against a plane that another command runs."""
    if not options.quiet:
        text = f"local modal | using the one that is up for {str(options.state)!r}"
        if options.settings != Settings():
            text += ", with the options it was started with"
        if words[0] == "modal" and "dashboard" in words:  # what the client says leads to modal.com
            text += f"; its dashboard: {plane.link}"
        click.echo(click.style(text, dim=True), err=True)
    stopped = stop_requests()
    return await wait_for(await start_program(words, plane.exports), stopped)


async def _hosted(words: list[str], options: Options, claim: Claim) -> int:
    """Run a command against a plane of its own and return its exit code."""
    stopped = stop_requests()
    address = Address.of(options.state)
    claim.publish(address, "command", ready=False)
    child = await start_program(words, address.exports())
    try:
        journal = Journal(options)
        plane = make_plane(address, options, journal)  # while the command starts as well
        await plane.start()
        if words[0] == "modal" and sys.stdout.isatty():
            journal.followers = plane.tell_followers
    except BaseException:
        end_program(child)
        raise
    claim.publish(address, "command", ready=True)
    try:
        code = await wait_for(child, stopped)
        journal.terminal_is_free()
        if plane.endpoints(fresh=True) and code == 0 and not stopped.is_set():
            await _stay(plane, options.stay_s, stopped)
        await _see_detached_off(plane, stopped)
        await _see_guests_off(claim, plane, stopped)
    finally:
        await plane.stop()
    return code


async def _stay(plane: LocalModal, stay_s: float | None, stopped: asyncio.Event) -> None:
    """Let deployed endpoints go on answering, and schedules fire."""
    if stay_s == 0:
        return
    plane.schedules.start()
    for name, url in plane.endpoints(fresh=True):
        plane.say(f"{name} answers at {url}")
    plane.say("Ctrl-C to stop" if stay_s is None else f"stopping in {stay_s:g} s")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(stay_s):
            await stopped.wait()


async def _see_detached_off(plane: LocalModal, stopped: asyncio.Event) -> None:
    """Go on while an app of `modal run --detach` works on its calls, until Ctrl-C."""
    while (apps := plane.apps.detached()) and not stopped.is_set():
        names = ", ".join(app.label for app in apps)
        plane.say(f"{names} runs on, detached; ending with its last call, or with Ctrl-C")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DETACHED_LOOK_S):
                await stopped.wait()


async def _see_guests_off(claim: Claim, plane: LocalModal, stopped: asyncio.Event) -> None:
    """Go on while other commands use this plane, until Ctrl-C."""
    if stopped.is_set() or claim.close_door():
        return
    plane.say("another command uses this local Modal; ending with it, or with Ctrl-C")
    waits = [asyncio.create_task(claim.until_alone()), asyncio.create_task(stopped.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
