"""``modalkit local``: run a command, or keep a shell's exports alive, against a local Modal."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import LocalModalError, MissingExtraError, ModalkitError
from ..local import Address, Settings, default_state_folder

if TYPE_CHECKING:
    from ..local import LocalModal

__all__ = ["command"]

_SIGNALLED = 128
_PR_SET_PDEATHSIG = 1
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class _Options:
    state: Path | None
    stay_s: float | None
    namespaces: bool
    quiet: bool
    verbose: bool


@click.command(
    "local",
    context_settings={"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]},
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for volumes, secrets and what is deployed [default: the user's data folder].",
)
@click.option(
    "--for",
    "stay_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long deployed web endpoints go on answering after the command [default: until Ctrl-C].",
)
@click.option("--exit", "leave", is_flag=True, help="End with the command; the same as --for 0.")
@click.option(
    "--no-namespaces",
    is_flag=True,
    help="Run containers as plain processes, as on systems without Linux namespaces.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing about the local Modal itself.")
@click.option("-v", "--verbose", is_flag=True, help="Log what the local Modal does.")
@click.argument("words", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
def command(  # noqa: PLR0917 - click passes them by name
    state: Path | None,
    stay_s: float | None,
    leave: bool,
    no_namespaces: bool,
    quiet: bool,
    verbose: bool,
    words: tuple[str, ...],
) -> None:
    r"""Run COMMAND against a Modal on this machine, started for it: no account, no network.

    \b
      modalkit local modal run app.py
      modalkit local modal run app.py::main --name x
      modalkit local modal serve app.py
      modalkit local modal deploy app.py
      modalkit local modal volume put weights ./weights /
      modalkit local modal secret create hf HF_TOKEN=...
      modalkit local pytest
      modalkit local up

    The modal client is the unmodified one, pointed at 127.0.0.1 by environment variables; your
    Modal profile and token are neither read nor sent. The command's exit code is passed on.

    If the command deployed an app with web endpoints, they go on answering until Ctrl-C (see --for
    and --exit). `up` instead of a command keeps the local Modal running and prints the variables
    that point a shell at it.

    Functions run on this machine's Python: images are not built. Volumes are folders below --state.
    """
    options = _Options(
        state=state,
        stay_s=0.0 if leave else stay_s,
        namespaces=not no_namespaces,
        quiet=quiet,
        verbose=verbose,
    )
    _set_up_log(options)
    try:
        code = asyncio.run(_up(options) if words == ("up",) else _run(list(words), options))
    except ModalkitError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(code)


def _set_up_log(options: _Options) -> None:
    logging.basicConfig(stream=sys.stderr, format="local modal | %(message)s", level=logging.ERROR)
    if options.verbose:
        logging.getLogger("modalkit.local").setLevel(logging.DEBUG)


def _make_plane(address: Address, options: _Options) -> LocalModal:
    try:
        from ..local import LocalModal  # noqa: PLC0415 - loads gRPC and an HTTP server
    except ImportError as error:
        feature = "The local Modal"
        raise MissingExtraError(feature, "local") from error
    say = (lambda _text: None) if options.quiet else _say
    return LocalModal(address, say, Settings(namespaces=options.namespaces))


def _say(text: str) -> None:
    click.echo(click.style(f"local modal | {text}", dim=True), err=True)


async def _up(options: _Options) -> int:
    """Keep a local Modal running until Ctrl-C."""
    stopped = _stop_requests()
    address = Address(options.state or default_state_folder())
    plane = _make_plane(address, options)
    await plane.start()
    try:
        await plane.restore()
        for name, value in address.exports().items():
            click.echo(f"export {name}={value}")
        sys.stdout.flush()
        for name, url in plane.endpoints():
            plane.say(f"{name} answers at {url}")
        plane.say("running; paste the lines above into a shell to use it. Ctrl-C to stop")
        await stopped.wait()
    finally:
        await plane.stop()
    return 0


async def _run(words: list[str], options: _Options) -> int:
    """Run a command against a local Modal and return its exit code."""
    stopped = _stop_requests()
    address = Address(options.state or default_state_folder())
    child = await _start_child(words, address)
    try:
        plane = _make_plane(address, options)  # while the command starts as well
        await plane.start()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        raise
    try:
        code = await _wait_for(child, stopped)
        if plane.endpoints(fresh=True) and code == 0 and not stopped.is_set():
            await _stay(plane, options.stay_s, stopped)
    finally:
        await plane.stop()
    return code


def _stop_requests() -> asyncio.Event:
    """Return an event that SIGINT, SIGTERM or SIGHUP sets."""
    stopped = asyncio.Event()
    for number in _STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


async def _start_child(words: list[str], address: Address) -> asyncio.subprocess.Process:
    environment = address.client_environment(os.environ)
    # The command finds the Python (and modal) that runs the plane before any other.
    here = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([here, environment.get("PATH", os.defpath)])
    # At a terminal Ctrl-C reaches the command by itself. Elsewhere a signal to this process is meant
    # for the command, and a signal to this process's group must not reach it twice.
    return await asyncio.create_subprocess_exec(
        *_resolved(words, environment["PATH"]),
        env=environment,
        process_group=None if sys.stdin.isatty() else 0,
        preexec_fn=_die_with_parent(),
    )


async def _wait_for(child: asyncio.subprocess.Process, stopped: asyncio.Event) -> int:
    """Wait for the command, passing signals on to it; return its exit code as a shell would."""
    loop = asyncio.get_running_loop()

    def pass_on(number: signal.Signals) -> None:
        stopped.set()
        with contextlib.suppress(ProcessLookupError):
            if not sys.stdin.isatty():
                os.killpg(child.pid, number)
            elif number != signal.SIGINT:
                child.send_signal(number)

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, pass_on, number)
    if stopped.is_set():  # while the plane was starting
        pass_on(signal.SIGTERM)
    code = await child.wait()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    return code if code >= 0 else _SIGNALLED - code


def _resolved(words: list[str], path: str) -> list[str]:
    """Return the command with its program's place, so that a missing one is a clear error."""
    if words[0] == "modal":
        return [sys.executable, "-m", "modal", *words[1:]]
    program = shutil.which(words[0], path=path)
    if program is None:
        msg = f"There is no command {words[0]!r} to run against the local Modal."
        raise LocalModalError(msg)
    return [program, *words[1:]]


def _die_with_parent() -> Callable[[], None] | None:
    """Return what a child does first so that it ends when this process is killed."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) and None


async def _stay(plane: LocalModal, stay_s: float | None, stopped: asyncio.Event) -> None:
    """Let deployed endpoints go on answering."""
    if stay_s == 0:
        return
    for name, url in plane.endpoints(fresh=True):
        plane.say(f"{name} answers at {url}")
    plane.say("Ctrl-C to stop" if stay_s is None else f"stopping in {stay_s:g} s")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(stay_s):
            await stopped.wait()
