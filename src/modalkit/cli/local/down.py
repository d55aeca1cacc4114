"""``modalkit local down``: end the local Modal that is running."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

from ...local.presence import running, wait_until_gone
from .options import with_state

__all__ = ["command"]


@click.command("down")
@with_state
@click.option(
    "--within",
    "within_s",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long containers get to finish before it is killed.",
)
def command(state: Path, within_s: float) -> None:
    """End the local Modal of the state folder; what it keeps on disk stays."""
    plane = running(state)
    if plane is None:
        click.echo(f"No local Modal is up for {str(state)!r}.")
        return
    os.kill(plane.pid, signal.SIGTERM)
    if wait_until_gone(state, within_s):
        click.echo(f"The local Modal of {str(state)!r} has ended.")
        return
    os.kill(plane.pid, signal.SIGKILL)
    wait_until_gone(state, within_s=10.0)
    click.echo(f"The local Modal of {str(state)!r} did not end in {within_s:g} s and was killed.")
